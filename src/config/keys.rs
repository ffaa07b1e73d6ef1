use std::time::Duration;

use toml::de::DeValue;

use super::{settings::Settings, value};

/// A key of pixeld.toml, with the functions that read it into [`Settings`] and format it.
#[derive(Debug)]
pub struct ConfigKey {
    /// The dotted name, such as `limits.body`.
    pub name: &'static str,
    pub takes_effect: TakesEffect,
    pub(super) set: fn(&mut Settings, &DeValue<'_>) -> value::Result<()>,
    pub show: fn(&Settings) -> String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakesEffect {
    AtReload,
    AtRestart,
}

const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A row for each key: name, when a change takes effect, field, function that reads, function that formats.
macro_rules! keys {
    ($($name:literal $takes_effect:ident $($field:ident).+ = $read:ident($($allowed:expr)?) $show:ident;)+) => {
        /// Every key, in the order of pixeld.toml.
        pub const KEYS: &[ConfigKey] = &[$(ConfigKey {
            name: $name,
            takes_effect: TakesEffect::$takes_effect,
            set: |settings, text| {
                settings.$($field).+ = value::$read(text $(, $allowed)?)?;
                Ok(())
            },
            show: |settings| value::$show(&settings.$($field).+),
        }),+];
    };
}

keys! {
    "workers"            AtReload  workers            = workers()                 show_workers;
    "listen.http"        AtRestart listen.http        = addresses()               show_list;
    "listen.control"     AtRestart listen.control     = unix_address()            show_text;
    "listen.admin"       AtRestart listen.admin       = unix_address()            show_text;
    "limits.body"        AtReload  limits.body        = size(64..=1 << 30)        show_size;
    "limits.header"      AtReload  limits.header      = size(8 << 10..=1 << 20)   show_size;
    "limits.connections" AtReload  limits.connections = count(1..=1_000_000)      show_number;
    "limits.requests-per-connection" AtReload limits.requests_per_connection = count(1..=1_000_000_000) show_number;
    "timeouts.header"     AtReload timeouts.header     = time(MS * 100..=DAY) show_time;
    "timeouts.body"       AtReload timeouts.body       = time(MS * 100..=DAY) show_time;
    "timeouts.write"      AtReload timeouts.write      = time(MS * 100..=DAY) show_time;
    "timeouts.keep-alive" AtReload timeouts.keep_alive = time(MS * 100..=DAY) show_time;
    "timeouts.drain"      AtReload timeouts.drain      = time(MS * 100..=DAY) show_time;
    "pixel.range-error-status" AtReload pixel.range_error_status = status(&[200, 400, 422]) show_number;
    "log.level"  AtReload  log.level  = word(&value::levels()) show_level;
    "log.target" AtRestart log.target = word(&value::TARGETS) show_target;
}

/// Key names of version 0.1 and their keys. They cause a warning; version 0.3 rejects them.
const OLD_NAMES: [(&str, &str); 2] = [("limits.head", "limits.header"), ("timeouts.head", "timeouts.header")];

impl ConfigKey {
    /// Returns the key with this name or this old name, and whether the name is an old one.
    pub(super) fn find(section: Option<&str>, name: &str) -> Option<(&'static Self, bool)> {
        let is_named = |dotted: &str| match section {
            None => dotted == name,
            Some(section) => dotted.split_once('.') == Some((section, name)),
        };
        let old = OLD_NAMES.iter().find(|(old, _)| is_named(old));
        let known =
            KEYS.iter().find(|key| old.map_or_else(|| is_named(key.name), |(_, new)| key.name == *new));
        known.map(|key| (key, old.is_some()))
    }
}

/// Returns the keys with different values.
pub fn changes(from: &Settings, to: &Settings) -> Vec<&'static ConfigKey> {
    KEYS.iter().filter(|key| (key.show)(from) != (key.show)(to)).collect()
}
