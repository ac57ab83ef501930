//! `towpath check`.

use std::path::Path;

use towpath::Database;

use crate::exit::Failure;
use crate::output::{Output, counted, field_table, spinner};

#[derive(clap::Args)]
pub(crate) struct Check {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Damage is the answer to the question, so it goes to standard output in full; the code tells it to a script.
    pub(crate) fn run(&self, data: &Path) -> Result<(), Failure> {
        let sign = spinner("checking");
        let report = Database::check(data);
        sign.finish_and_clear();
        let report = report?;
        let mut output = Output::new();
        if self.json {
            output.json(&report)?;
        } else {
            output.line(field_table(&report)?.to_string())?;
            for problem in &report.problems {
                output.line(problem)?;
            }
            if report.problems.is_empty() {
                output.line("Sound.")?;
            }
        }
        output.flush()?;
        match report.problems.len() as u64 {
            0 => Ok(()),
            problems => Err(Failure::damaged(format!(
                "{} in {}: the next open mends those whose line says so; for any other restore a copy of the directory",
                counted(problems, "problem"),
                data.display()
            ))),
        }
    }
}
