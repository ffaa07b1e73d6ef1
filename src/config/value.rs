//! One TOML value to one setting, and back to the text that an operator would write.

use std::{fmt::Display, num::NonZeroUsize, ops::RangeInclusive, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, de::IntoDeserializer};
use toml::de::DeValue;

use super::settings::Workers;
use crate::{net::Address, sanitize};

/// What is wrong with a value; the caller knows which key it belongs to.
pub type Result<T> = std::result::Result<T, String>;

pub fn workers(value: &DeValue<'_>) -> Result<Workers> {
    const EXPECTED: &str = r#"write "auto" or a number from 1 to 1024"#;
    match value {
        DeValue::String(text) if text == "auto" => Ok(Workers::Auto),
        DeValue::Integer(_) => integer(value)
            .ok()
            .filter(|count| *count <= Workers::MOST)
            .and_then(NonZeroUsize::new)
            .map(Workers::Count)
            .ok_or_else(|| format!("{} workers cannot be had: {EXPECTED}", source(value))),
        _ => Err(format!("{} is no number of workers: {EXPECTED}", source(value))),
    }
}

pub fn count(value: &DeValue<'_>, range: RangeInclusive<usize>) -> Result<usize> {
    let count = integer(value)?;
    in_range(count, &range, |n| n.to_string())
}

/// Bytes, as a number or as text with a unit.
pub fn size(value: &DeValue<'_>, range: RangeInclusive<usize>) -> Result<usize> {
    let bytes = match value {
        DeValue::String(text) => text
            .parse::<ByteSize>()
            .ok()
            .and_then(|size| usize::try_from(size.as_u64()).ok())
            .ok_or_else(|| {
                format!(r#"{} is no size: write bytes as a number, or text such as "16KiB""#, source(value))
            })?,
        _ => integer(value).map_err(|_| {
            format!(r#"{} is no size: write bytes as a number, or text such as "16KiB""#, source(value))
        })?,
    };
    in_range(bytes, &range, show_size)
}

/// A time, as text with a unit.
pub fn time(value: &DeValue<'_>, range: RangeInclusive<Duration>) -> Result<Duration> {
    let time = match value {
        DeValue::String(text) => humantime::parse_duration(text).ok(),
        _ => None,
    };
    let time =
        time.ok_or_else(|| format!(r#"{} is no time: write text such as "10s" or "500ms""#, source(value)))?;
    in_range(time, &range, |time| show_time(time).trim_matches('"').into())
}

/// One of a few words.
pub fn word<T: for<'de> Deserialize<'de>>(value: &DeValue<'_>, words: &[&str]) -> Result<T> {
    let chosen = match value {
        DeValue::String(text) if words.contains(&text.as_ref()) => {
            let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
                text.as_ref().into_deserializer();
            T::deserialize(text).ok()
        }
        _ => None,
    };
    chosen.ok_or_else(|| {
        let quoted: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
        format!("{} is not known here: write {}", source(value), quoted.join(" or "))
    })
}

pub fn status(value: &DeValue<'_>, allowed: &[u16]) -> Result<u16> {
    let status = integer(value).ok().and_then(|n| u16::try_from(n).ok()).filter(|n| allowed.contains(n));
    status.ok_or_else(|| {
        let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        format!("{} is not allowed: write {}", source(value), allowed.join(" or "))
    })
}

pub fn addresses(value: &DeValue<'_>) -> Result<Vec<Address>> {
    /// Each is compared with each, and each is a listening socket.
    const MAX: usize = 64;

    let DeValue::Array(items) = value else {
        return Err(format!(r#"{} is no list: write ["127.0.0.1:8000"]"#, source(value)));
    };
    if items.len() > MAX {
        return Err(format!("the list has {} addresses: name at most {MAX}", items.len()));
    }
    let addresses: Vec<_> = items.iter().map(|item| address(item.get_ref())).collect::<Result<_>>()?;
    if addresses.is_empty() {
        return Err("the list is empty: name at least one address".into());
    }
    for (i, one) in addresses.iter().enumerate() {
        if addresses[..i].contains(one) {
            return Err(format!("{one} stands in the list twice"));
        }
        if let Some(other) = addresses[..i].iter().find(|other| other.overlaps(one)) {
            return Err(format!("{one} and {other} are in each other's way: leave one of them out"));
        }
    }
    Ok(addresses)
}

/// A Unix socket, whose file's mode decides who may use it.
pub fn unix_address(value: &DeValue<'_>) -> Result<Address> {
    match address(value)? {
        unix @ Address::Unix(_) => Ok(unix),
        tcp @ Address::Tcp(_) => Err(format!(r#"{tcp} is no Unix socket: write "unix:/path""#)),
    }
}

fn address(value: &DeValue<'_>) -> Result<Address> {
    match value {
        DeValue::String(text) => text.parse().map_err(|error: crate::net::InvalidAddress| error.to_string()),
        _ => Err(format!(r#"{} is no address: write text such as "127.0.0.1:8000""#, source(value))),
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

/// A value as it stands in the file, near enough.
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

/// The largest unit that needs no fraction, in TOML's quotes.
pub fn show_size(bytes: usize) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift)) {
        Some((unit, shift)) => format!("\"{}{unit}\"", bytes >> shift),
        None => bytes.to_string(),
    }
}

pub fn show_time(time: Duration) -> String {
    format!("\"{}\"", humantime::format_duration(time))
}

pub fn show_text(text: impl Display) -> String {
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<T>(text: &str, read: impl Fn(&DeValue<'_>) -> Result<T>) -> Result<T> {
        read(DeValue::parse(text).unwrap().get_ref())
    }

    #[test]
    fn sizes() {
        let size = |text| parse(text, |value| size(value, 1..=1 << 30));
        assert_eq!(size("16384"), Ok(16384));
        assert_eq!(size("\"16KiB\""), Ok(16384));
        assert_eq!(size("\"1 MiB\""), Ok(1 << 20));
        for (text, part) in [
            ("\"lots\"", "\"lots\" is no size"),
            ("-1", "-1 is no size"),
            ("true", "true is no size"),
            ("0", "0 is out of range: write 1 to \"1GiB\""),
        ] {
            let error = size(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(show_size(16384), "\"16KiB\"");
        assert_eq!(show_size(1000), "1000");
    }

    #[test]
    fn times() {
        let second = Duration::from_secs(1);
        let time = |text| parse(text, |value| time(value, second / 10..=second * 3600));
        assert_eq!(time("\"500ms\""), Ok(second / 2));
        assert_eq!(time("\"1min 30s\""), Ok(second * 90));
        for (text, part) in [
            ("10", "10 is no time: write text such as \"10s\""),
            ("\"soon\"", "\"soon\" is no time"),
            ("\"1ms\"", "1ms is out of range: write 100ms to 1h"),
        ] {
            let error = time(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn numbers_of_workers() {
        assert_eq!(parse("\"auto\"", workers), Ok(Workers::Auto));
        assert_eq!(parse("1024", workers), Ok(Workers::Count(NonZeroUsize::new(1024).unwrap())));
        for text in ["0", "1025", "-1", "\"four\"", "1.5", "[1]"] {
            let error = parse(text, workers).unwrap_err();
            assert!(error.contains("write \"auto\" or a number from 1 to 1024"), "{error}");
        }
    }

    #[test]
    fn lists_of_addresses() {
        assert_eq!(parse(r#"["127.0.0.1:1", "unix:/s"]"#, addresses).unwrap().len(), 2);
        for (text, part) in [
            ("[]", "at least one"),
            ("\"127.0.0.1:1\"", "is no list"),
            (r#"["127.0.0.1:1", "127.0.0.1:1"]"#, "twice"),
            (r#"["127.0.0.1:1", "0.0.0.0:1"]"#, "0.0.0.0:1 and 127.0.0.1:1 are in each other's way"),
            ("[8000]", "8000 is no address"),
        ] {
            let error = parse(text, addresses).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(parse("\"127.0.0.1:1\"", unix_address).unwrap_err().contains("no Unix socket"));
    }
}
