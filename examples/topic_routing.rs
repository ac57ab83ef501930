//! Orders published to a topic exchange: three queues are bound by patterns, and what nobody wants is kept elsewhere.
//!
//! `cargo run --example topic_routing`

use towpath::{Binding, ExchangeOptions, Options, Queue, QueueOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In a temporary directory, which goes when the database is closed; a program of yours opens one that stays.
    let db = Options::new().open_temporary()?;

    // Who publishes names an exchange and a routing key, and knows no queue. What no binding of `orders` matches goes
    // on to its alternate, `unclaimed`; without one such a publish would be refused.
    let unclaimed = db.create_exchange("unclaimed", ExchangeOptions::fanout())?;
    let orders = db.create_exchange("orders", ExchangeOptions::topic().alternate("unclaimed"))?;

    // A pattern is matched word by word: `*` is one word, `#` any number of them, none too.
    let [invoices, europe, audit, leftovers] =
        ["invoices", "europe", "audit", "leftovers"].map(|name| db.create_queue(name, QueueOptions::new()));
    let (invoices, europe, audit, leftovers) = (invoices?, europe?, audit?, leftovers?);
    orders.bind(&invoices, Binding::pattern("order.*.paid"))?;
    orders.bind(&europe, Binding::pattern("order.eu.#"))?;
    orders.bind(&audit, Binding::pattern("order.#"))?;
    // A queue that is bound twice gets a message that both bindings match once.
    orders.bind(&audit, Binding::pattern("#.paid"))?;
    unclaimed.bind(&leftovers, Binding::all())?;

    println!("published:");
    for (routing_key, body) in [
        ("order.eu.paid", "one blue mug"),
        ("order.us.paid", "two green plates"),
        ("order.eu.returned.broken", "a mug in pieces"),
        ("newsletter.eu", "spring is here"),
    ] {
        // On disk when `publish` returns, in all of its queues or, had it failed, in none. The body is stored once.
        let published = orders.publish(routing_key, body)?;
        println!("  {routing_key}: {body} (queues: {})", published.queues);
    }

    for queue in [&invoices, &europe, &audit, &leftovers] {
        drain(queue)?;
    }
    Ok(db.close()?)
}

/// Takes what is in a queue. A message is by itself in each queue: to acknowledge it here leaves it in the others.
fn drain(queue: &Queue) -> Result<(), towpath::Error> {
    println!("{}:", queue.name());
    while let Some(message) = queue.try_receive()? {
        // Both are `None` for a message that was sent to the queue itself. The exchange is the one that was published
        // to, also where an alternate led the message here.
        let (exchange, key) = (message.exchange().unwrap_or("-"), message.routing_key().unwrap_or("-"));
        println!("  {} (published to `{exchange}` as `{key}`)", String::from_utf8_lossy(message.body()));
        message.ack()?;
    }
    Ok(())
}
