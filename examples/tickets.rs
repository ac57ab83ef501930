//! Appends that share their syncs: all are submitted first and waited for afterwards.
//!
//! `cargo run --example tickets`

use std::time::Instant;

use towpath::{AppendOptions, Options, Record, StreamOptions};

const ORDERS: u64 = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let db = Options::new().open_temporary()?;
    let orders = db.create_stream("orders", StreamOptions::new())?;

    let start = Instant::now();
    for _ in 0..ORDERS {
        orders.append("one blue mug")?;
    }
    println!("{ORDERS} appends, each waited for: {:?}", start.elapsed());

    let start = Instant::now();
    let mut tickets = Vec::new();
    for _ in 0..ORDERS {
        tickets.push(orders.submit(Record::new(b"one blue mug"), &AppendOptions::new())?);
    }
    // They have their offsets already. A ticket is a future too: `ticket.await?`.
    for (offset, ticket) in (ORDERS..).zip(tickets) {
        assert_eq!(ticket.wait()?.offset, offset);
    }
    println!("{ORDERS} appends, waited for together: {:?}", start.elapsed());

    let batch = [Record::new(b"two green plates"), Record::new(b"two forks")];
    let ticket = orders.submit_batch(&batch, &AppendOptions::new())?;
    println!("the batch is {}", if ticket.is_done() { "on disk already" } else { "on its way" });
    println!("it is on disk: {:?}", ticket.wait()?.partitions);
    Ok(db.close()?)
}
