//! Several workers share a stream as a consumer group. One of them leaves early; the others go on with what it had.
//!
//! `cargo run --example consumer_group`

use std::thread;
use std::time::Duration;

use towpath::{CommitOptions, Error, Group, GroupOptions, MemberOptions, Options, Record, StreamOptions};

const WORKERS: u32 = 3;
const ORDERS: u32 = 60;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let db = Options::new().open_temporary()?;
    let orders = db.create_stream("orders", StreamOptions::new().partitions(6))?;
    for number in 0..ORDERS {
        let customer = format!("customer-{}", number % 10);
        orders.append(Record::new(format!("order {number}").as_bytes()).key(customer.as_bytes()))?;
    }

    let billing = orders.group("billing", GroupOptions::new())?;
    let outcome: Result<Vec<u32>, Error> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|worker| (worker, billing.clone())).collect();
        let workers: Vec<_> =
            workers.into_iter().map(|(worker, group)| scope.spawn(move || work(worker, &group))).collect();
        workers.into_iter().map(|worker| worker.join().expect("no worker panics")).collect()
    });
    assert_eq!(outcome?.iter().sum::<u32>(), ORDERS);
    assert_eq!(billing.describe()?.lag(), 0);
    Ok(db.close()?)
}

/// How many orders this worker has billed; the first one leaves after five.
fn work(worker: u32, group: &Group) -> Result<u32, Error> {
    let mut member = group.join(MemberOptions::new())?;
    let mut records = member.records(CommitOptions::new().every_records(10));
    let mut billed = 0;
    while let Some(record) = records.next_timeout(Duration::from_millis(200))? {
        let order = String::from_utf8_lossy(record.body());
        println!("worker {worker}: {order} of partition {}", record.partition());
        billed += 1;
        if worker == 0 && billed == 5 {
            break;
        }
    }
    // The last record is done too.
    records.commit()?;
    Ok(billed)
}
