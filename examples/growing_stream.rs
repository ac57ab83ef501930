//! Partitions are added while a program appends, and a reader sees the records of each key in order all the same.
//!
//! `cargo run --example growing_stream`

use std::collections::BTreeMap;

use towpath::{Error, Level, Options, Record, Start, Stream, StreamOptions};

/// A reader of all partitions that reads everything of one mapping before anything of the next.
#[derive(Default)]
struct Drain {
    /// Of the mapping that it reads.
    epoch: u32,
    /// The next offset of each partition. A program that shall go on after a restart stores both.
    next: Vec<u64>,
}

impl Drain {
    /// Hands out the record's key and body of everything that is there now.
    fn go_on(&mut self, stream: &Stream, mut see: impl FnMut(&[u8], &[u8])) -> Result<(), Error> {
        for ranges in stream.ranges_by_mapping(self.epoch)? {
            self.epoch = ranges.mapping.epoch;
            self.next.resize(ranges.partitions.len(), 0);
            for range in ranges.partitions {
                let next = &mut self.next[range.partition as usize];
                *next = range.start_offset.max(*next);
                if *next >= range.end_offset {
                    continue;
                }
                let mut reader = stream.reader(range.partition, Start::Offset(*next))?;
                while *next < range.end_offset {
                    // No more than up to the end: what lies behind it belongs to a later mapping.
                    let most = usize::try_from(range.end_offset - *next).unwrap_or(usize::MAX);
                    let records = reader.receive(most)?;
                    records.iter().for_each(|record| see(record.key().unwrap_or_default(), record.body()));
                    *next = reader.position();
                }
            }
        }
        Ok(())
    }
}

fn append(orders: &Stream, what: &str) -> Result<(), Error> {
    for number in 0..100 {
        let customer = format!("customer-{number}");
        orders.append(Record::new(what.as_bytes()).key(customer.as_bytes()))?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let db = Options::new().level(Level::Buffered).open_temporary()?;
    let orders = db.create_stream("orders", StreamOptions::new().partitions(2))?;
    let mut seen = BTreeMap::<Vec<u8>, Vec<String>>::new();
    let mut drain = Drain::default();
    let mut see = |key: &[u8], body: &[u8]| {
        seen.entry(key.to_vec()).or_default().push(String::from_utf8_lossy(body).into_owned());
    };

    append(&orders, "ordered")?;
    drain.go_on(&orders, &mut see)?;
    append(&orders, "paid")?;
    // By this program or any other; whoever has the stream open goes on.
    let mapping = orders.add_partitions(4)?;
    println!("{} partitions from mapping {} on", mapping.partitions, mapping.epoch);
    append(&orders, "left")?;
    drain.go_on(&orders, &mut see)?;

    assert!(seen.len() == 100 && seen.values().all(|seen| *seen == ["ordered", "paid", "left"]));
    println!("each of {} customers ordered, then paid, then left", seen.len());
    Ok(db.close()?)
}
