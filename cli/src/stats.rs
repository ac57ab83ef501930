//! `towpath stats`.

use std::path::Path;

use crate::exit::Failure;
use crate::open_existing;
use crate::output::{field_table, say, say_json};

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
        if self.json { say_json(&stats) } else { say(field_table(&stats)?.to_string()) }
    }
}
