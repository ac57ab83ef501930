//! What came of the second stage, for someone who sees it for the first time.

use super::{ATTEMPTS, Dispatched};
use crate::exit::Failure;
use crate::output::{Output, grouped, table};

pub(crate) fn print(dispatched: &Dispatched) -> Result<(), Failure> {
    let Dispatched { orders, places, deaths, failed, killed, unexplained, redriven, .. } = *dispatched;
    let Dispatched { processed, again, missing, foreign, left, .. } = *dispatched;
    let mut table = table(&["queues", "count", "which means"], &[1]);
    let mut row = |what: &str, count: u64, meaning: String| {
        table.add_row([what.to_owned(), grouped(count), meaning]);
    };
    row(
        "orders published",
        orders,
        format!("to a topic exchange, which led them to {} places in three queues", grouped(places)),
    );
    row("processes killed", deaths, "by an order that kills whoever works on it".to_owned());
    row("dead: failed", failed, format!("one order in a hundred cannot be processed; each was tried {ATTEMPTS} times"));
    row("dead: killed", killed, "the killer, in each of its queues; none of its neighbours".to_owned());
    if unexplained > 0 {
        row("dead: unexplained", unexplained, "they should not be dead, or do not say why".to_owned());
    }
    row("sent again", redriven, "all dead letters, after the fix".to_owned());
    row("processed", processed, "orders, counted in each of their queues".to_owned());
    row("processed again", again, "a process died between doing it and saying so".to_owned());
    row("not processed", missing, "published, and in no queue any more".to_owned());
    if foreign + left > 0 {
        row("foreign", foreign, "processed, and never published".to_owned());
        row("left", left, "still in a queue".to_owned());
    }
    let mut output = Output::new();
    output.line(table.to_string())?;
    output.line(match dispatched.is_exact() {
        true => "The queues are exact too: every order was processed in each of its queues, the poison after the fix.",
        false => "The queues are NOT exact.",
    })?;
    output.flush()
}
