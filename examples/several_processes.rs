//! Several processes on one directory: this program starts itself three times, and each copy appends its orders while
//! the first one reads them all.
//!
//! `cargo run --example several_processes`

use std::path::Path;
use std::process::{Child, Command};

use towpath::{Database, Start, StreamOptions};

const WORKERS: u32 = 3;
const ORDERS: u32 = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, worker, directory] = &arguments[..] {
        return work(worker, Path::new(directory));
    }
    let directory = std::env::temp_dir().join(format!("towpath-example-{}", std::process::id()));
    // It is the first to open the directory, so it hosts the database; the workers attach to it.
    let db = Database::open(&directory)?;
    let orders = db.create_stream("orders", StreamOptions::new())?;
    let workers: Vec<Child> = (0..WORKERS)
        .map(|worker| Command::new(&arguments[0]).arg(worker.to_string()).arg(&directory).spawn())
        .collect::<Result<_, _>>()?;

    let mut reader = orders.reader(0, Start::Earliest)?;
    while reader.position() < u64::from(WORKERS * ORDERS) {
        for record in &reader.receive(100)? {
            println!("{}: {}", record.offset(), String::from_utf8_lossy(record.body()));
        }
    }
    for mut worker in workers {
        assert!(worker.wait()?.success());
    }
    db.close()?;
    Ok(std::fs::remove_dir_all(directory)?)
}

/// What each worker does. If the first process were killed here, one of the workers would host the database.
fn work(worker: &str, directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let db = Database::open(directory)?;
    let orders = db.stream("orders")?;
    for number in 0..ORDERS {
        orders.append(format!("order {number} of worker {worker}").as_str())?;
    }
    Ok(db.close()?)
}
