use std::{fmt::Display, io::Write, time::Duration};

use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, tz::TimeZone};
use pixeld_control::{
    Attribution,
    environment::{CLICOLOR, CLICOLOR_FORCE, LANG, LC_ALL, LC_CTYPE, TERM, Variable},
    sanitize, sys,
};
use serde::Serialize;

use super::error::CommandError;

/// The name of a host or of a section.
pub const HEADING: Style = Style::new().bold();
/// A good state.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// An unusual state.
pub const ODD: Style = AnsiColor::Yellow.on_default().bold();
/// A bad state.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Secondary text.
pub const DIM: Style = Style::new().dimmed();

/// Disables colours on an unknown terminal, unless the environment enables them.
pub fn choose_colours() {
    let is_known = TERM.get().is_some_and(|terminal| terminal != "unknown");
    let are_asked_for = CLICOLOR_FORCE.get().is_some() || CLICOLOR.get().is_some_and(|value| value != "0");
    if !is_known && !are_asked_for {
        anstream::ColorChoice::Never.write_global();
    }
}

/// Returns the locale of characters: the first of these variables that is set.
pub fn locale() -> String {
    [LC_ALL, LC_CTYPE, LANG].into_iter().find_map(Variable::text).unwrap_or_default()
}

/// Whether characters beyond ASCII can be shown in a locale.
pub fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Returns text in a style, which [`print_text`] removes unless stdout is a terminal.
pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints a reply as JSON, or as the text that `show` returns.
pub fn print<T: Serialize>(
    reply: &T,
    json: bool,
    show: impl FnOnce(&T) -> String,
) -> Result<(), CommandError> {
    if json {
        let text = serde_json::to_string_pretty(reply).map_err(|error| CommandError::Output(error.into()))?;
        print_text(&sanitize::json(&text))
    } else {
        print_text(&show(reply))
    }
}

/// Prints a reply of a stream as one line of JSON.
pub fn print_json_line(reply: &impl Serialize) -> Result<(), CommandError> {
    let line = serde_json::to_string(reply).map_err(|error| CommandError::Output(error.into()))?;
    print_text(&sanitize::json(&line))
}

/// Prints text with one newline at its end; without colours unless stdout is a terminal and `NO_COLOR` is unset.
pub fn print_text(text: &str) -> Result<(), CommandError> {
    sys::ensure_stdout_was_open().map_err(CommandError::Output)?;
    let mut out = anstream::stdout().lock();
    writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()).map_err(CommandError::Output)
}

/// Returns a line for each pair, with right-aligned names. A pair without a name continues the line above. A list
/// that is too long is wrapped.
pub fn pairs<N: AsRef<str>>(pairs: impl IntoIterator<Item = (N, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().collect();
    let width = pairs.iter().map(|(name, _)| name.as_ref().len()).max().unwrap_or(0);
    let line = |(name, value): &(N, String)| match name.as_ref() {
        "" => format!("{:width$}  {}\n", "", wrapped(value.split(", "), ", ", width + 2)),
        name => format!("{name:>width$}: {}\n", wrapped(value.split(", "), ", ", width + 2)),
    };
    pairs.iter().map(line).collect()
}

/// Joins pieces of text by `glue`, in lines of 80 columns; all but the first line have `indent` blanks. Breaks no
/// piece.
pub fn wrapped<'p>(pieces: impl Iterator<Item = &'p str>, glue: &str, indent: usize) -> String {
    const WIDTH: usize = 80;

    let (mut text, mut column) = (String::new(), indent);
    for piece in pieces {
        let length = anstream::adapter::strip_str(piece).to_string().chars().count();
        if text.is_empty() {
            // The first piece fits, whatever its length.
        } else if column + glue.len() + length + glue.trim_end().len() > WIDTH {
            text += &format!("{}\n{:indent$}", glue.trim_end(), "");
            column = indent;
        } else {
            text += glue;
            column += glue.len();
        }
        text += piece;
        column += length;
    }
    text
}

/// Returns a table with columns as wide as their widest cell; numbers are right-aligned.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let is_number = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    let widths: Vec<_> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0))
        .collect();
    let numeric: Vec<_> = (0..columns)
        .map(|column| rows.iter().skip(1).filter_map(|row| row.get(column)).all(|cell| is_number(cell)))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            line += &if numeric[column] { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Whole seconds in two units at most, as systemctl shows them: `2d 3h`.
pub fn duration(time: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A latency in the unit that fits, with three digits at most.
pub fn latency(us: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // three digits are shown
    let us = us as f64;
    let (value, unit) = match us {
        ..1e3 => (us, "us"),
        ..1e6 => (us / 1e3, "ms"),
        _ => (us / 1e6, "s"),
    };
    if value >= 10.0 || value.fract() == 0.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// A rate, with one decimal below 10.
pub fn rate(per_second: f64) -> String {
    if per_second < 10.0 && per_second > 0.0 {
        format!("{per_second:.1}/s")
    } else {
        format!("{per_second:.0}/s")
    }
}

pub fn cpu(ms: u64) -> String {
    if ms < 60_000 {
        format!("{}.{} s", ms / 1000, ms % 1000 / 100)
    } else {
        duration(Duration::from_millis(ms))
    }
}

/// A share, from 0 to 1.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Bytes with one decimal in the unit that fits.
pub fn bytes(count: u64) -> String {
    bytesize::ByteSize(count).display().iec().to_string()
}

/// A moment in the operator's time zone, as systemctl shows it: `Sun 2026-11-22 23:46:53 UTC`.
pub fn moment(unix_ms: u64) -> String {
    zoned(unix_ms, "%a %F %T %Z")
}

/// The time of day in the operator's time zone.
pub fn time_of_day(unix_ms: u64) -> String {
    zoned(unix_ms, "%T")
}

/// A moment as the journal shows it: `Nov 22 23:46:53`.
pub fn journal_time(unix_ms: u64) -> String {
    zoned(unix_ms, "%b %d %T")
}

fn zoned(unix_ms: u64, format: &str) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(
        || "an unknown time".into(),
        |time| time.to_zoned(TimeZone::system()).strftime(format).to_string(),
    )
}

/// A number with its noun: `1 worker`, `2 workers`.
pub fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Who did something, and when.
pub fn attribution(attribution: &Attribution) -> String {
    format!("by {} at {}", attribution.by, moment(attribution.at_unix_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_columns_are_aligned() {
        let rows = [["ID", "STATE", "N"], ["1", "serving", "7"], ["10", "leaving", "123"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(String::from).into()).collect();
        assert_eq!(table(&rows), "ID  STATE      N\n 1  serving    7\n10  leaving  123\n");
    }

    #[test]
    fn times_have_two_units() {
        assert_eq!(duration(Duration::from_millis(3_192_700)), "53m 12s");
        assert_eq!(duration(Duration::from_secs(200_000)), "2days 7h");
        assert_eq!(duration(Duration::ZERO), "0s");
    }

    #[test]
    fn figures_are_rounded_for_reading() {
        let latencies: Vec<_> = [0, 7, 950, 1_000, 1_234, 12_345, 2_000_000].map(latency).into();
        assert_eq!(latencies, ["0 us", "7 us", "950 us", "1 ms", "1.2 ms", "12 ms", "2 s"]);
        assert_eq!([0.0, 0.25, 9.5, 1234.5].map(rate), ["0/s", "0.2/s", "9.5/s", "1234/s"]);
        assert_eq!(percent(0.126), "13 %");
    }

    #[test]
    fn long_list_is_wrapped() {
        let list = ["a dozen words"; 12].join(", ");
        let text = pairs([("short", "one, two".into()), ("Long", list.clone())]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..2], ["short: one, two".to_owned(), format!(" Long: {}", &list[..59])], "{text}");
        assert!(lines[2].starts_with("       a dozen") && lines[1].ends_with("words,"), "{text}");
        assert_eq!(lines[1..].iter().map(|line| &line[7..]).collect::<Vec<_>>().join(" "), list);
    }
}
