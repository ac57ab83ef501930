//! A reader that waits at the end of a stream while another thread appends.
//!
//! `cargo run --example tailing_reader`

use std::thread;
use std::time::Duration;

use towpath::{Error, Options, Start, Stream, StreamOptions};

const ORDERS: u64 = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let db = Options::new().open_temporary()?;
    let orders = db.create_stream("orders", StreamOptions::new())?;

    let mut reader = orders.reader(0, Start::Latest)?;
    let writer = thread::spawn(move || write(&orders));
    while reader.position() < ORDERS {
        // `receive` waits as long as it takes; this looks up now and then.
        let Some(records) = reader.receive_timeout(100, Duration::from_secs(1))? else {
            println!("nothing new for a second");
            continue;
        };
        for record in &records {
            println!("{}: {}", record.offset(), String::from_utf8_lossy(record.body()));
        }
    }
    writer.join().expect("the writer does not panic")?;
    Ok(db.close()?)
}

fn write(orders: &Stream) -> Result<(), Error> {
    for number in 0..ORDERS {
        orders.append(format!("order {number}").as_str())?;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
