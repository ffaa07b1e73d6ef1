use std::{
    io::{Write, stdout},
    time::Duration,
};

use serde::Serialize;

use super::failure::Failure;

/// Prints a reply as JSON, or else as the text that `show` makes of it.
pub fn print<T: Serialize>(reply: &T, json: bool, show: impl FnOnce(&T) -> String) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string_pretty(reply).map_err(|error| Failure::Output(error.into()))?
    } else {
        show(reply)
    };
    let mut out = stdout().lock();
    writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Columns as wide as their widest cell, two blanks apart; numbers stand to the right.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
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

/// Bytes with one decimal in the unit that fits.
pub fn bytes(count: u64) -> String {
    bytesize::ByteSize(count).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
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
}
