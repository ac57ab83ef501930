//! `towpath stats`.

use std::path::Path;

use crate::exit::Failure;
use crate::open_existing;
use crate::output::{field_table, say, say_json};

const NOTE: &str = "\
What was done (syncs to removed segments) counts from the opening of the database, which this command did itself.
Live and stored bytes are those of sealed segments; newer records are in the journal's end, below `ready`.";

#[derive(clap::Args)]
pub(crate) struct Stats {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(crate) fn run(&self, data: &Path) -> Result<(), Failure> {
        let database = open_existing(data)?;
        let stats = database.stats()?;
        database.close()?;
        if self.json {
            return say_json(&stats);
        }
        say(format!("{}\n{NOTE}", field_table(&stats)?))
    }
}
