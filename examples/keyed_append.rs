//! Records with the same key keep their order: they share a partition.
//!
//! `cargo run --example keyed_append`

use towpath::{AppendOptions, Options, Record, Start, StreamOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let db = Options::new().open_temporary()?;
    let orders = db.create_stream("orders", StreamOptions::new().partitions(4))?;

    let day = [
        ("customer-7", "one blue mug"),
        ("customer-9", "two green plates"),
        ("customer-7", "no, two blue mugs"),
        ("customer-8", "a fork"),
        ("customer-7", "and a saucer"),
    ];
    let records = day.map(|(customer, order)| Record::new(order.as_bytes()).key(customer.as_bytes()));
    // One batch: all of them are stored, or none.
    let appended = orders.append_batch(&records, &AppendOptions::new())?;
    for range in &appended.partitions {
        println!("partition {}: {} from offset {}", range.partition, range.records, range.first_offset);
    }

    let partition = orders.partition_of(b"customer-7");
    let mut reader = orders.reader(partition, Start::Earliest)?;
    let mut seen = Vec::new();
    while let Some(records) = reader.try_receive(100)? {
        for record in records.iter().filter(|record| record.key() == Some(b"customer-7")) {
            seen.push(String::from_utf8_lossy(record.body()).into_owned());
        }
    }
    assert_eq!(seen, ["one blue mug", "no, two blue mugs", "and a saucer"]);
    println!("customer 7, in order: {seen:?}");
    Ok(db.close()?)
}
