//! `towpath schedule …`: messages that the database sends at times.

mod add;
mod describe;

use clap::Subcommand;

use crate::exit::Failure;
use crate::output::say;
use crate::place::Place;

use add::Add;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make a schedule, or give the one with this name these times, target and message
    ///
    /// One that is added again alike stays what it is. One that gets another message or target keeps its next run.
    Add(Add),
    /// List all schedules
    List {
        /// Print one JSON object per schedule and line
        #[arg(long)]
        json: bool,
    },
    /// Show a schedule, what became of its runs, and the next of them
    Describe {
        /// The schedule
        name: String,
        /// How many of the next runs are shown
        #[arg(long, value_name = "N", default_value_t = 3)]
        runs: usize,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let a schedule rest until it is resumed
    Pause {
        /// The schedule
        name: String,
    },
    /// Let a schedule go on with the first run that is to come
    Resume {
        /// The schedule
        name: String,
    },
    /// Remove a schedule; what it has sent stays
    Remove {
        /// The schedule
        name: String,
    },
}

impl Verb {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        match self {
            Verb::Add(add) => add.run(place),
            Verb::List { json } => describe::list(place, json),
            Verb::Describe { name, runs, json } => describe::describe(place, &name, runs, json),
            Verb::Pause { name } => change(place, &name, towpath::Schedule::pause, "is paused"),
            Verb::Resume { name } => change(place, &name, towpath::Schedule::resume, "goes on"),
            Verb::Remove { name } => change(place, &name, |schedule| schedule.clone().remove(), "is removed"),
        }
    }
}

fn change(
    place: &Place,
    name: &str,
    change: impl FnOnce(&towpath::Schedule) -> Result<(), towpath::Error>,
    done: &str,
) -> Result<(), Failure> {
    let database = place.open_existing()?;
    let changed = database.existing_schedule(name).and_then(|schedule| change(&schedule));
    let closed = database.close();
    changed?;
    closed?;
    say(format!("{name} {done}."))
}
