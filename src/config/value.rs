//! Converts a TOML value to a setting, and a setting back to TOML.
#![allow(clippy::trivially_copy_pass_by_ref)] // all functions that show a value have the same form

use std::{fmt::Display, num::NonZeroUsize, ops::RangeInclusive, time::Duration};

use toml::de::DeValue;

use super::settings::Workers;
use crate::{
    log::{Level, Target},
    net::Address,
    sanitize,
};

/// An error describes the value; the caller adds the key.
pub type Result<T> = std::result::Result<T, String>;

pub fn workers(value: &DeValue<'_>) -> Result<Workers> {
    if matches!(value, DeValue::String(text) if text == "auto") {
        return Ok(Workers::Auto);
    }
    let count = integer(value).ok().filter(|count| *count <= Workers::MAX).and_then(NonZeroUsize::new);
    count
        .map(Workers::Count)
        .ok_or_else(|| format!(r#"{} is not valid: write "auto" or a number from 1 to 1024"#, source(value)))
}

pub fn count(value: &DeValue<'_>, range: RangeInclusive<usize>) -> Result<usize> {
    let count = integer(value)?;
    in_range(count, &range, |n| n.to_string())
}

/// Bytes, as a number or as text with a unit.
pub fn size(value: &DeValue<'_>, range: RangeInclusive<usize>) -> Result<usize> {
    let bytes = match value {
        DeValue::String(text) => parse_size(text),
        _ => integer(value).ok(),
    };
    let bytes = bytes.ok_or_else(|| {
        format!(
            r#"{} is not a size: write a number of bytes, or a whole number with KiB, MiB, GiB, kB, MB or GB, such as "16KiB""#,
            source(value)
        )
    })?;
    in_range(bytes, &range, |bytes| show_size(&bytes))
}

/// A time, as text with a unit.
pub fn time(value: &DeValue<'_>, range: RangeInclusive<Duration>) -> Result<Duration> {
    let time = match value {
        DeValue::String(text) => parse_time(text),
        _ => None,
    };
    let time = time.ok_or_else(|| {
        format!(
            r#"{} is not a time: write whole numbers with d, h, m, s or ms, such as "10s", "500ms" or "1m 15s""#,
            source(value)
        )
    })?;
    in_range(time, &range, |time| show_time(&time).trim_matches('"').into())
}

/// Parses bytes, or a number with a unit and at most one space between them.
fn parse_size(text: &str) -> Option<usize> {
    const UNITS: [(&str, usize); 10] = [
        ("", 1),
        ("K", 1000),
        ("kB", 1000),
        ("M", 1_000_000),
        ("MB", 1_000_000),
        ("G", 1_000_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    let (number, rest) = leading_number(text)?;
    let unit = rest.strip_prefix(' ').filter(|unit| !unit.is_empty()).unwrap_or(rest);
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    usize::try_from(number).ok()?.checked_mul(factor)
}

/// Parses numbers with units, the largest unit first, with at most one space after each.
fn parse_time(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 10] = [
        ("d", 86_400_000),
        ("day", 86_400_000),
        ("days", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("min", 60_000),
        ("s", 1000),
        ("sec", 1000),
        ("ms", 1),
        ("msec", 1),
    ];
    let (mut rest, mut total, mut last) = (text, 0_u64, u64::MAX);
    loop {
        let (number, after) = leading_number(rest)?;
        let after = after.strip_prefix(' ').unwrap_or(after);
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        if factor >= last {
            return None;
        }
        last = factor;
        total = total.checked_add(number.checked_mul(factor)?)?;
        if after.is_empty() {
            return Some(Duration::from_millis(total));
        }
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    number.parse().ok().map(|number| (number, rest))
}

pub fn levels() -> [(&'static str, Level); Level::ALL.len()] {
    Level::ALL.map(|level| (level.name(), level))
}

pub const TARGETS: [(&str, Target); 3] =
    [("auto", Target::Auto), ("journal", Target::Journal), ("stderr", Target::Stderr)];

/// One of a few words.
pub fn word<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Result<T> {
    let chosen = match value {
        DeValue::String(text) => words.iter().find(|(word, _)| word == text),
        _ => None,
    };
    chosen.map(|(_, chosen)| *chosen).ok_or_else(|| {
        let quoted: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        format!("{} is not valid: write {}", source(value), quoted.join(" or "))
    })
}

pub fn status(value: &DeValue<'_>, allowed: &[u16]) -> Result<u16> {
    let status = integer(value).ok().and_then(|n| u16::try_from(n).ok()).filter(|n| allowed.contains(n));
    status.ok_or_else(|| {
        let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        format!("{} is not valid: write {}", source(value), allowed.join(" or "))
    })
}

pub fn addresses(value: &DeValue<'_>) -> Result<Vec<Address>> {
    /// Each address is compared with all others, and each is a listening socket.
    const MAX: usize = 64;

    let DeValue::Array(items) = value else {
        return Err(format!(r#"{} is not a list: write ["127.0.0.1:8000"]"#, source(value)));
    };
    if items.len() > MAX {
        return Err(format!("the list has {} addresses: write at most {MAX}", items.len()));
    }
    let addresses: Vec<_> = items.iter().map(|item| address(item.get_ref())).collect::<Result<_>>()?;
    if addresses.is_empty() {
        return Err("the list is empty: write at least one address".into());
    }
    for (i, one) in addresses.iter().enumerate() {
        if addresses[..i].contains(one) {
            return Err(format!("{one} is listed twice"));
        }
        if let Some(other) = addresses[..i].iter().find(|other| other.overlaps(one)) {
            return Err(format!("{one} overlaps {other}: remove one of them"));
        }
    }
    Ok(addresses)
}

/// Reads the address of a Unix socket, because the mode of its file controls who may connect.
pub fn unix_address(value: &DeValue<'_>) -> Result<Address> {
    match address(value)? {
        unix @ Address::Unix(_) => Ok(unix),
        tcp @ Address::Tcp(_) => Err(format!(r#"{tcp} is not a Unix socket: write "unix:/path""#)),
    }
}

fn address(value: &DeValue<'_>) -> Result<Address> {
    match value {
        DeValue::String(text) => text.parse().map_err(|error: crate::net::InvalidAddress| error.to_string()),
        _ => Err(format!(r#"{} is not an address: write text such as "127.0.0.1:8000""#, source(value))),
    }
}

fn integer(value: &DeValue<'_>) -> Result<usize> {
    match value {
        DeValue::Integer(number) => usize::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
    .ok_or_else(|| format!("{} is no whole number from 0 on", source(value)))
}

fn in_range<T: PartialOrd + Copy>(
    value: T,
    range: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (low, high) = (show(*range.start()), show(*range.end()));
    Err(format!("{} is out of range: write {low} to {high}", show(value)))
}

/// Returns the value for a message, roughly as in the file.
fn source(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => sanitize::quoted(text),
        DeValue::Integer(number) => sanitize::name(&number.to_string()),
        DeValue::Float(number) => sanitize::name(&number.to_string()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

pub fn show_workers(workers: &Workers) -> String {
    match workers {
        Workers::Auto => show_text("auto"),
        Workers::Count(count) => count.to_string(),
    }
}

/// Formats a size with the largest unit that needs no fraction, as TOML.
pub fn show_size(bytes: &usize) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| *bytes > 0 && bytes.is_multiple_of(1 << shift)) {
        Some((unit, shift)) => show_text(format_args!("{}{unit}", bytes >> shift)),
        None => bytes.to_string(),
    }
}

pub fn show_time(time: &Duration) -> String {
    let mut rest = time.as_millis();
    let mut parts = Vec::new();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if rest >= length {
            parts.push(format!("{}{unit}", rest / length));
        }
        rest %= length;
    }
    show_text(if parts.is_empty() { "0s".into() } else { parts.join(" ") })
}

pub fn show_number(number: &impl Display) -> String {
    number.to_string()
}

pub fn show_text(text: impl Display) -> String {
    format!("\"{text}\"")
}

pub fn show_list(items: &[impl Display]) -> String {
    let items: Vec<_> = items.iter().map(show_text).collect();
    format!("[{}]", items.join(", "))
}

pub fn show_level(level: &Level) -> String {
    show_text(level.name())
}

pub fn show_target(target: &Target) -> String {
    TARGETS.iter().find(|(_, known)| known == target).map_or_else(String::new, |(word, _)| show_text(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<T>(text: &str, read: impl Fn(&DeValue<'_>) -> Result<T>) -> Result<T> {
        read(DeValue::parse(text).unwrap().get_ref())
    }

    #[test]
    fn size_is_parsed_in_each_unit() {
        let size = |text| parse(text, |value| size(value, 1..=1 << 30));
        assert_eq!(size("16384"), Ok(16384));
        assert_eq!(size("\"16KiB\""), Ok(16384));
        assert_eq!(size("\"1 MiB\""), Ok(1 << 20));
        for (text, part) in [
            ("\"lots\"", "\"lots\" is not a size"),
            ("-1", "-1 is not a size"),
            ("true", "true is not a size"),
            ("0", "0 is out of range: write 1 to \"1GiB\""),
        ] {
            let error = size(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(show_size(&16384), "\"16KiB\"");
        assert_eq!(show_size(&1000), "1000");
    }

    #[test]
    fn time_is_parsed_in_each_unit() {
        let second = Duration::from_secs(1);
        let time = |text| parse(text, |value| time(value, second / 10..=second * 3600));
        assert_eq!(time("\"500ms\""), Ok(second / 2));
        assert_eq!(time("\"1min 30s\""), Ok(second * 90));
        for (text, part) in [
            ("10", "10 is not a time: write whole numbers with d, h, m, s or ms, such as \"10s\""),
            ("\"soon\"", "\"soon\" is not a time"),
            ("\"1ms\"", "1ms is out of range: write 100ms to 1h"),
        ] {
            let error = time(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn loose_sizes_and_times_are_rejected() {
        for text in ["16Kib", "16kib", "16KB", "1 6KiB", "16  KiB", " 16", "16 ", "1.5MiB", "+1", "", "KiB"] {
            let error = parse(&format!("\"{text}\""), |value| size(value, 1..=1 << 30)).unwrap_err();
            assert!(error.contains("\"16KiB\""), "{error}");
        }
        let time = |text: &str| {
            parse(&format!("\"{text}\""), |value| time(value, Duration::ZERO..=Duration::from_secs(1 << 40)))
        };
        for text in
            ["1 0 s", "1.5s", "10", "10S", "1s 1s", "1s 1m", "1m  1s", " 1s", "1s ", "-1s", "1\u{a0}s", ""]
        {
            let error = time(text).unwrap_err();
            assert!(error.contains("\"1m 15s\""), "{error}");
        }
        assert!(time("99999999999999999999s").is_err() && time("18446744073709551615d").is_err());
        for seconds in [1, 75, 3600, 86_400, 90_061, 40 * 86_400] {
            let shown = show_time(&Duration::from_secs(seconds));
            assert_eq!(time(shown.trim_matches('"')), Ok(Duration::from_secs(seconds)), "{shown}");
        }
    }

    #[test]
    fn worker_count_is_a_number_or_auto() {
        assert_eq!(parse("\"auto\"", workers), Ok(Workers::Auto));
        assert_eq!(parse("1024", workers), Ok(Workers::Count(NonZeroUsize::new(1024).unwrap())));
        for text in ["0", "1025", "-1", "\"four\"", "1.5", "[1]"] {
            let error = parse(text, workers).unwrap_err();
            assert!(error.contains("write \"auto\" or a number from 1 to 1024"), "{error}");
        }
    }

    #[test]
    fn address_lists_are_parsed_or_rejected() {
        assert_eq!(parse(r#"["127.0.0.1:1", "unix:/s"]"#, addresses).unwrap().len(), 2);
        for (text, part) in [
            ("[]", "at least one"),
            ("\"127.0.0.1:1\"", "is not a list"),
            (r#"["127.0.0.1:1", "127.0.0.1:1"]"#, "twice"),
            (r#"["127.0.0.1:1", "0.0.0.0:1"]"#, "0.0.0.0:1 overlaps 127.0.0.1:1"),
            ("[8000]", "8000 is not an address"),
        ] {
            let error = parse(text, addresses).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(parse("\"127.0.0.1:1\"", unix_address).unwrap_err().contains("not a Unix socket"));
    }
}
