//! pixeld.toml(5) has each key with its default, its bounds and when it is applied, as the code has it.

use std::{collections::BTreeMap, fs};

use pixeld::config::{KEYS, Settings, Sources, TakesEffect};

use super::page::{PIXELD_TOML, items, plain, section};

/// The text of each key, by its dotted name.
fn explained() -> BTreeMap<String, &'static str> {
    let keys = section(PIXELD_TOML, "KEYS");
    let sections = keys.split("\n.Ss ").enumerate().flat_map(|(at, text)| {
        let prefix =
            if at == 0 { String::new() } else { text.split(['[', ']']).nth(1).unwrap().to_owned() + "." };
        items(text, "Ic").into_iter().map(move |(name, text)| (format!("{prefix}{name}"), text))
    });
    sections.collect()
}

/// Text after `word: ` in the entry of a key, up to the end of the sentence.
fn stated(text: &str, word: &str) -> Option<String> {
    let text = plain(text);
    let (_, rest) = text.split_once(&format!("{word}: "))?;
    let end =
        [" Default:", " Range:", " Applied by:", "; ", ". "].iter().filter_map(|end| rest.find(end)).min();
    Some(rest[..end.unwrap_or(rest.len())].trim_end_matches([' ', '.']).to_owned())
}

/// Error that this value of a key causes, if any.
fn fault(key: &str, value: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pixeld.toml");
    fs::write(&file, format!("{key} = {value}")).unwrap();
    Sources::File(file).load().err().map(|errors| errors.to_string())
}

#[test]
fn every_key_is_explained_and_no_other() {
    let mut names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    names.sort_unstable();
    assert_eq!(explained().into_keys().collect::<Vec<_>>(), names);
    assert_eq!(section(PIXELD_TOML, "KEYS").matches("\n.It Ic ").count(), names.len());
}

#[test]
fn every_key_has_the_stated_default() {
    let explained = explained();
    for key in KEYS {
        let stated = stated(explained[key.name], "Default").expect(key.name);
        assert_eq!(stated, (key.show)(&Settings::default()), "{}", key.name);
    }
}

#[test]
fn every_key_is_applied_as_stated() {
    let explained = explained();
    for key in KEYS {
        let stated = stated(explained[key.name], "Applied by").expect(key.name);
        let expected = match key.takes_effect {
            TakesEffect::AtReload => ["reload", "reload, until the daemon begins to stop"].as_slice(),
            TakesEffect::AtRestart => &["restart"],
        };
        assert!(expected.contains(&stated.as_str()), "{}: {stated}", key.name);
    }
}

/// Parses a bound of the page; times are in milliseconds.
fn amount(text: &str) -> u64 {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let factor = match unit {
        "" | "bytes" | "ms" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "day" => 24 * 3600 * 1000,
        other => panic!("what is {other}?"),
    };
    number.parse::<u64>().unwrap() * factor
}

#[test]
fn every_key_has_the_stated_bounds() {
    let mut count = 0;
    for (key, text) in explained() {
        let Some(range) = stated(text, "Range") else { continue };
        count += 1;
        let (least, most) = range.split_once(" to ").expect(&range);
        let (least, most) = (amount(least), amount(most));
        let is_time = plain(text).contains("Time.");
        let fault =
            |value: u64| fault(&key, &if is_time { format!("\"{value}ms\"") } else { value.to_string() });
        for inside in [least, most] {
            assert_eq!(fault(inside), None, "{key}: {range}");
        }
        for outside in [least - 1, most + 1] {
            assert!(fault(outside).is_some(), "{key} may be {outside}, which is outside of {range}");
        }
    }
    // All others take addresses or one of a few values.
    assert_eq!(count, KEYS.len() - 6);
}

#[test]
fn every_enum_value_is_stated_and_no_other() {
    let explained = explained();
    for key in ["pixel.range-error-status", "log.level", "log.target"] {
        let text = plain(explained[key]);
        let fault = fault(key, "7").expect("none of them");
        let (_, allowed) = fault.split_once(": write ").expect(&fault);
        for value in allowed.trim_end().split(" or ") {
            assert!(text.contains(value), "{key}: {value}");
            assert_eq!(self::fault(key, value), None, "{key}: {value}");
        }
        // Each quoted value is valid; pixel.range-error-status quotes a body instead.
        let quoted = text.split('"').skip(1).step_by(2);
        for value in quoted.filter(|_| key.starts_with("log.")) {
            assert!(allowed.contains(&format!("\"{value}\"")), "{key}: {value}");
        }
    }
}

#[test]
fn every_stated_unit_is_accepted() {
    let values = items(section(PIXELD_TOML, "VALUES"), "Sy");
    for (name, key) in [("Sizes", "limits.body"), ("Times", "timeouts.header")] {
        let words = values[name].lines().filter_map(|line| line.strip_prefix(".Ql ")?.split(' ').next());
        let units: Vec<_> = words.filter(|word| word.chars().all(char::is_alphabetic)).collect();
        assert!(units.len() > 4, "{units:?}");
        // A value may be out of bounds, but not unknown.
        let is_known = |unit: &str| {
            fault(key, &format!("\"1{unit}\"")).is_none_or(|fault| !fault.contains(" is not a "))
        };
        assert!(!is_known("parsec"));
        for unit in units {
            assert!(is_known(unit), "{name}: {unit}");
        }
    }
    assert!(fault("timeouts.header", "10").is_some(), "a number without a unit is a fault");
}
