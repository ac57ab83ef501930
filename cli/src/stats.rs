//! `towpath stats`.

use crate::exit::Failure;
use crate::output::{field_table, say, say_json};
use crate::place::Place;

const NOTE: &str = "\
What was done (syncs to parked segments, operations) counts from when the host opened the database; the host is
this command itself if no other process has it open.
Live and stored bytes are those of sealed segments; newer records are in the journal's end, below `ready`.";

#[derive(clap::Args)]
pub(crate) struct Stats {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(crate) fn run(&self, place: &Place) -> Result<(), Failure> {
        let database = place.open_existing()?;
        let stats = database.stats()?;
        database.close()?;
        if self.json {
            return say_json(&stats);
        }
        say(format!("{}\n{NOTE}", field_table(&shown(&stats)?)?))
    }
}

/// The same, with a field for each operation that was asked for.
fn shown(stats: &towpath::Stats) -> Result<serde_json::Value, Failure> {
    let mut value = serde_json::to_value(stats).map_err(|error| Failure::failed(error.to_string()))?;
    let asked_for = stats.operations.iter().filter(|operation| operation.count > 0);
    let counts = asked_for.map(|operation| (operation.operation.to_owned(), operation.count.into()));
    value["operations"] = serde_json::Value::Object(counts.collect());
    Ok(value)
}
