//! `towpath top`: what a database does, once a second.
//!
//! A thread takes samples ([`sample`]); what two of them say about the time between is computed apart from both
//! ([`view`]); the screen draws it ([`screen`]). A host that does not answer holds up the samples and not the keys.

mod sample;
mod screen;
mod view;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use towpath::Database;

use self::sample::Sample;
use self::view::View;
use crate::exit::Failure;
use crate::output::{say, say_json};
use crate::place::Place;
use crate::signals::{self, Signals};

const INTERVAL: Duration = Duration::from_secs(1);

/// How long a key, a signal or a sample may wait before it is looked for again.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Args)]
pub(crate) struct Top {
    /// The directory, instead of --data DIR
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Print one picture of the next second and end, as is done where the output is no terminal
    #[arg(long)]
    once: bool,
    /// Print one JSON object of the next second and end
    #[arg(long)]
    json: bool,
}

impl Top {
    pub(crate) fn run(self, place: Place) -> Result<(), Failure> {
        let place = place.or_in(self.directory);
        let database = place.attach()?;
        let signals = signals::catch()?;
        let is_live = !self.once && !self.json && io::stdout().is_terminal() && io::stdin().is_terminal();
        let outcome = match is_live {
            true => live(&database, signals),
            false => once(&database, signals, self.json),
        };
        let closed = database.close();
        outcome?;
        Ok(closed?)
    }
}

fn once(database: &Database, signals: &Signals, json: bool) -> Result<(), Failure> {
    let first = Sample::take(database)?;
    signals.wait_timeout(INTERVAL)?;
    let view = View::new(Some(&first), &Sample::take(database)?);
    if json { say_json(&view) } else { say(screen::plain(&view)) }
}

/// Draws until a key or a signal ends it. The terminal is as it was on return, and after a panic.
fn live(database: &Database, signals: &Signals) -> Result<(), Failure> {
    let terminal_failed = |error: io::Error| Failure::failed(format!("the terminal: {error}"));
    let (samples, taken) = channel();
    let (_ends_when_dropped, stop) = channel();
    let sampled = database.clone();
    // Not waited for: a sample that is under way ends when the database is closed.
    thread::spawn(move || take_samples(&sampled, &samples, &stop));
    let mut terminal = ratatui::try_init().map_err(terminal_failed)?;
    let outcome = draw(&mut terminal, &taken, signals);
    ratatui::try_restore().map_err(terminal_failed)?;
    outcome
}

fn take_samples(database: &Database, samples: &Sender<Result<Sample, towpath::Error>>, stop: &Receiver<()>) {
    loop {
        let sample = Sample::take(database);
        let is_last = sample.is_err();
        if samples.send(sample).is_err() || is_last || stop.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn draw(
    terminal: &mut DefaultTerminal,
    samples: &Receiver<Result<Sample, towpath::Error>>,
    signals: &Signals,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("the terminal: {error}"));
    let mut last: Option<Sample> = None;
    let mut view = None;
    let mut answered = Instant::now();
    loop {
        signals.check()?;
        for sample in samples.try_iter() {
            let sample = sample?;
            view = Some(View::new(last.as_ref(), &sample));
            last = Some(sample);
            answered = Instant::now();
        }
        let silence = answered.elapsed().checked_sub(2 * INTERVAL);
        terminal
            .draw(|frame| screen::draw(view.as_ref(), silence, frame.area(), frame.buffer_mut()))
            .map_err(failed)?;
        if event::poll(LOOK).map_err(failed)? && is_end(&event::read().map_err(failed)?) {
            return Ok(());
        }
    }
}

fn is_end(event: &Event) -> bool {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else { return false };
    match code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_control_c_end_it_and_nothing_else_does() {
        let key = |code, modifiers| is_end(&Event::Key(KeyEvent::new(code, modifiers)));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE) && key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE) && !key(KeyCode::Enter, KeyModifiers::NONE));
        assert!(!is_end(&Event::Resize(0, 0)));
    }
}
