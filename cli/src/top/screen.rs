//! The picture: a few lines of figures, the streams, the attached processes. Consumer groups get their place, with
//! their lag, below the streams once there are any.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, Widget};

use super::view::{ProcessRow, StreamRow, View};
use crate::output::grouped;

const PLAIN_COLUMNS: u16 = 100;
const FIGURE_LINES: u16 = 4;

/// Lines of a table besides its rows: the title and the header.
const TABLE_LINES: u16 = 2;

const OPERATIONS_SHOWN: usize = 4;

/// Draws into whatever room there is. `silence` is how long the host has been overdue.
pub(super) fn draw(view: Option<&View>, silence: Option<Duration>, area: Rect, buffer: &mut Buffer) {
    let Some(view) = view else {
        return Paragraph::new("waiting for the host …").render(area, buffer);
    };
    let processes = TABLE_LINES.saturating_add(rows(view.processes.len()).max(1));
    let parts = Layout::vertical([
        Constraint::Length(FIGURE_LINES),
        Constraint::Min(TABLE_LINES + 1),
        Constraint::Max(processes),
        Constraint::Length(1),
    ]);
    let [figures, streams, attached, footer] = parts.areas(area);
    Paragraph::new(Text::from(figure_lines(view, silence))).render(figures, buffer);
    stream_table(&view.streams).render(streams, buffer);
    process_table(&view.processes).render(attached, buffer);
    Paragraph::new("q ends").style(Style::new().add_modifier(Modifier::DIM)).render(footer, buffer);
}

/// The whole picture as text, without trailing spaces.
pub(super) fn plain(view: &View) -> String {
    let (streams, processes) = (rows(view.streams.len()), rows(view.processes.len()).max(1));
    let tables = (2 * TABLE_LINES).saturating_add(streams.max(1)).saturating_add(processes);
    // One line is the footer's, which is left out.
    let area = Rect::new(0, 0, PLAIN_COLUMNS, FIGURE_LINES.saturating_add(tables).saturating_add(1));
    let mut buffer = Buffer::empty(area);
    draw(Some(view), None, area, &mut buffer);
    let mut lines = lines_of(&buffer);
    lines.pop();
    lines.join("\n").trim_end().to_owned()
}

fn lines_of(buffer: &Buffer) -> Vec<String> {
    let columns = usize::from(buffer.area.width.max(1));
    let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
    buffer.content().chunks(columns).map(|cells| line(cells).trim_end().to_owned()).collect()
}

/// So many that a picture of them fits into memory; the rest is cut off, as at the edge of a terminal.
fn rows(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX).min(500)
}

fn figure_lines(view: &View, silence: Option<Duration>) -> Vec<Line<'static>> {
    let mut host = format!("host      process {}, epoch {}", view.host_pid, view.host_epoch);
    if let Some(silence) = silence {
        host += &format!("; no answer for {} s", silence.as_secs() + 2);
    }
    let appends = format!(
        "appends   {} records/s, {} of journal/s, {} syncs/s",
        rate(view.records_per_second),
        bytes_rate(view.journal_bytes_per_second),
        rate(view.syncs_per_second)
    );
    let unsynced =
        format!("at stake  {} not on disk yet, {} to replay", bytes(view.unsynced_bytes), bytes(view.replay_bytes));
    let mut attached = format!("requests  {}/s of attached processes", rate(view.operations_per_second));
    for (place, operation) in view.operations.iter().take(OPERATIONS_SHOWN).enumerate() {
        let separator = if place == 0 { ": " } else { ", " };
        attached += &format!("{separator}{} {}", operation.operation, rate(Some(operation.per_second)));
    }
    [host, appends, unsynced, attached].map(Line::from).into()
}

fn stream_table(streams: &[StreamRow]) -> Table<'static> {
    let cells = streams.iter().map(|stream| {
        let numbers = [grouped(stream.partitions), grouped(stream.records), bytes(stream.bytes), grouped(stream.end)];
        [vec![stream.name.clone()], numbers.into(), vec![rate(stream.records_per_second)]].concat()
    });
    let widths = [Constraint::Fill(1), columns(10), columns(16), columns(12), columns(16), columns(12)];
    let header = ["stream", "partitions", "records", "bytes", "ends", "appends/s"];
    table("streams", &header, cells.collect(), &widths)
}

fn process_table(processes: &[ProcessRow]) -> Table<'static> {
    let cells = processes.iter().map(|process| {
        let rates = [rate(process.requests_per_second), rate(process.writes_per_second)];
        let since = format!("{} s", grouped(process.attached_micros / 1_000_000));
        [vec![format!("process {}", process.pid), since], rates.into(), vec![grouped(process.waiting)]].concat()
    });
    let widths = [Constraint::Fill(1), columns(12), columns(12), columns(12), columns(10)];
    let header = ["attached", "since", "requests/s", "writes/s", "waiting"];
    table("processes", &header, cells.collect(), &widths)
}

fn columns(columns: u16) -> Constraint {
    Constraint::Length(columns)
}

/// The first column to the left, the others to the right.
fn table(
    title: &'static str,
    header: &[&'static str],
    rows: Vec<Vec<String>>,
    widths: &[Constraint],
) -> Table<'static> {
    let title = match rows.len() {
        0 => format!(" no {title} "),
        count => format!(" {title}: {count} "),
    };
    let cell = |(column, text): (usize, String)| {
        let alignment = if column == 0 { Alignment::Left } else { Alignment::Right };
        Cell::from(Text::from(text).alignment(alignment))
    };
    let row = |cells: Vec<String>| Row::new(cells.into_iter().enumerate().map(cell));
    let header = row(header.iter().map(|&text| text.to_owned()).collect());
    Table::new(rows.into_iter().map(row), widths.to_vec())
        .header(header.style(Style::new().add_modifier(Modifier::BOLD)))
        .block(Block::new().borders(Borders::TOP).title(title))
}

/// A rate with as many digits as it deserves; `-` where it is not known.
fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate > 0.0 && rate < 10.0 => format!("{rate:.1}"),
        Some(rate) => grouped(rate.round() as u64),
    }
}

fn bytes_rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| bytes(rate.round() as u64))
}

/// A size to read at a glance: `512 B`, `1.5 MB`.
fn bytes(bytes: u64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.into_iter().find(|(scale, _)| bytes as f64 >= *scale) {
        Some((scale, unit)) => format!("{:.1} {unit}", bytes as f64 / scale),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::view::tests::pair;
    use super::*;

    fn view() -> View {
        let (first, second) = pair();
        View::new(Some(&first), &second)
    }

    fn drawn(columns: u16, lines: u16, view: Option<&View>) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
        terminal.draw(|frame| draw(view, None, frame.area(), frame.buffer_mut())).unwrap();
        lines_of(terminal.backend().buffer())
    }

    #[test]
    fn a_picture_shows_host_rates_streams_and_processes() {
        let lines = drawn(100, 14, Some(&view()));
        assert_eq!(lines[0], "host      process 4711, epoch 3");
        assert_eq!(lines[1], "appends   20 records/s, 2.0 kB of journal/s, 10 syncs/s");
        assert_eq!(lines[2], "at stake  512 B not on disk yet, 2.0 kB to replay");
        assert_eq!(lines[3], "requests  420/s of attached processes: read 400, submit 20");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&lines[6]), ["orders", "4", "90", "9.0", "kB", "140", "20"]);
        let process = lines.iter().find(|line| line.starts_with("process 815")).unwrap();
        assert_eq!(words(process), ["process", "815", "7", "s", "420", "20", "2"]);
        assert_eq!(lines.last().unwrap(), "q ends");
    }

    #[test]
    fn the_plain_picture_holds_every_row_and_no_keys() {
        let mut view = view();
        view.streams = (0..60).map(|n| StreamRow { name: format!("orders-{n}"), ..view.streams[0].clone() }).collect();
        view.processes.clear();
        let text = plain(&view);
        assert!(text.contains("orders-59") && text.contains("no processes") && !text.contains("q ends"), "{text}");
    }

    #[test]
    fn no_terminal_is_too_small() {
        let view = view();
        for columns in 0..40 {
            for lines in 0..12 {
                drawn(columns, lines, Some(&view));
                drawn(columns, lines, None);
            }
        }
    }

    #[test]
    fn a_host_that_does_not_answer_is_told() {
        let area = Rect::new(0, 0, 80, 10);
        let mut buffer = Buffer::empty(area);
        draw(Some(&view()), Some(Duration::from_secs(3)), area, &mut buffer);
        assert!(lines_of(&buffer)[0].ends_with("; no answer for 5 s"));
    }

    #[test]
    fn rates_and_sizes_are_short() {
        assert_eq!([None, Some(0.0), Some(0.25), Some(1_234.5)].map(rate), ["-", "0", "0.2", "1,235"]);
        assert_eq!([0, 999, 1_500, 8_388_608].map(bytes), ["0 B", "999 B", "1.5 kB", "8.4 MB"]);
    }
}
