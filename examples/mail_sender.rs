//! A mail sender: four threads, retries with a pause that grows, and a poison message that does not hold up the others.
//!
//! `cargo run --example mail_sender`

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use towpath::{Backoff, Delivery, Options, Queue, QueueOptions};

/// What the mails are sent with. It does not answer at first, as servers do.
#[derive(Default)]
struct Server {
    answers: AtomicBool,
    addresses: Mutex<BTreeMap<String, String>>,
}

impl Server {
    fn deliver(&self, customer: &str) -> Result<String, String> {
        if !self.answers.swap(true, Ordering::Relaxed) {
            return Err("the mail server does not answer".to_owned());
        }
        let addresses = self.addresses.lock().unwrap();
        addresses.get(customer).cloned().ok_or_else(|| format!("{customer} has no address"))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In a temporary directory, which goes when the database is closed; a program of yours opens one that stays.
    let db = Options::new().open_temporary()?;
    // An attempt that failed is repeated after 20 to 80 ms. After the third the message is dead.
    let retry = Backoff::exponential(Duration::from_millis(40), Duration::from_millis(80));
    let mails = db.create_queue("mails", QueueOptions::new().max_attempts(3).backoff(retry))?;

    let server = Arc::new(Server::default());
    for customer in ["ann", "bob", "dave"] {
        server.addresses.lock().unwrap().insert(customer.to_owned(), format!("{customer}@example.org"));
    }
    // On disk when `send` returns: from here on each is tried until it is sent or dead, through crashes too.
    for customer in ["ann", "bob", "carol", "", "dave"] {
        mails.send(customer)?;
    }

    // The closure runs in four threads. `Ok` acknowledges the message, `Err` and a panic fail it with the text.
    let of_worker = server.clone();
    let worker = mails.work(4, move |mail: &Delivery| {
        let customer = String::from_utf8_lossy(mail.body()).into_owned();
        // A program error: it panics with the same message at every attempt.
        let initial = customer.chars().next().expect("a customer has a name");
        match of_worker.deliver(&customer) {
            Ok(address) => {
                println!("{initial}: sent to {address} at attempt {}", mail.attempt());
                Ok(())
            }
            Err(error) => {
                println!("{initial}: attempt {} failed: {error}", mail.attempt());
                Err(error)
            }
        }
    })?;

    wait_until_settled(&mails)?;
    println!("\nwhat could not be sent:");
    let letters = mails.dead_letters(None, 10)?;
    for letter in &letters {
        println!("  `{}`, {} attempts", String::from_utf8_lossy(letter.message()?.body()), letter.failed_attempts());
        letter.failures().iter().for_each(|failure| println!("    {}", failure.error));
    }

    println!("\ncarol is given an address, and her mail is sent again; the one to nobody is let go:");
    server.addresses.lock().unwrap().insert("carol".to_owned(), "carol@example.org".to_owned());
    let (poison, carols): (Vec<_>, Vec<_>) =
        letters.into_iter().partition(|letter| letter.message().is_ok_and(|mail| mail.body().is_empty()));
    mails.redrive(&carols)?;
    mails.purge_dead(&poison)?;
    wait_until_settled(&mails)?;

    let counts = worker.stop()?;
    println!("\n{} sent, {} attempts failed, {} panicked", counts.acked, counts.failed, counts.panicked);
    Ok(db.close()?)
}

/// A program that goes on serving has no need of this.
fn wait_until_settled(mails: &Queue) -> Result<(), towpath::Error> {
    loop {
        let described = mails.describe()?;
        if described.ready + described.delayed + described.in_flight == 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
