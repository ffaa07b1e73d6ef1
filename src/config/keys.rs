use std::time::Duration;

use toml::de::DeValue;

use super::{settings::Settings, value};
use crate::log::{Level, Target};

/// One key of pixeld.toml: how it is read into [`Settings`] and written back.
#[derive(Debug)]
pub struct ConfigKey {
    /// The dotted name, such as `limits.body`.
    pub name: &'static str,
    /// When a changed value takes effect.
    pub takes_effect: TakesEffect,
    /// Reads a value, or says what is wrong with it.
    pub(super) set: fn(&mut Settings, &DeValue<'_>) -> value::Result<()>,
    /// The value as TOML.
    pub show: fn(&Settings) -> String,
}

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakesEffect {
    /// At a reload.
    AtReload,
    /// At the next start.
    AtRestart,
}

use TakesEffect::{AtReload, AtRestart};

const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Every key, in the order of pixeld.toml.
#[rustfmt::skip]
pub const KEYS: &[ConfigKey] = &[
    ConfigKey {
        name: "workers", takes_effect: AtReload,
        set: |s, v| { s.workers = value::workers(v)?; Ok(()) },
        show: |s| match s.workers {
            super::Workers::Auto => "\"auto\"".into(),
            super::Workers::Count(count) => count.to_string(),
        },
    },
    ConfigKey {
        name: "listen.http", takes_effect: AtRestart,
        set: |s, v| { s.listen.http = value::addresses(v)?; Ok(()) },
        show: |s| {
            let addresses: Vec<_> = s.listen.http.iter().map(value::show_text).collect();
            format!("[{}]", addresses.join(", "))
        },
    },
    ConfigKey {
        name: "listen.control", takes_effect: AtRestart,
        set: |s, v| { s.listen.control = value::unix_address(v)?; Ok(()) },
        show: |s| value::show_text(&s.listen.control),
    },
    ConfigKey {
        name: "listen.admin", takes_effect: AtRestart,
        set: |s, v| { s.listen.admin = value::unix_address(v)?; Ok(()) },
        show: |s| value::show_text(&s.listen.admin),
    },
    ConfigKey {
        name: "limits.body", takes_effect: AtReload,
        set: |s, v| { s.limits.body = value::size(v, 64..=1 << 30)?; Ok(()) },
        show: |s| value::show_size(s.limits.body),
    },
    ConfigKey {
        name: "limits.header", takes_effect: AtReload,
        set: |s, v| { s.limits.header = value::size(v, 8 << 10..=1 << 20)?; Ok(()) },
        show: |s| value::show_size(s.limits.header),
    },
    ConfigKey {
        name: "limits.connections", takes_effect: AtReload,
        set: |s, v| { s.limits.connections = value::count(v, 1..=1_000_000)?; Ok(()) },
        show: |s| s.limits.connections.to_string(),
    },
    ConfigKey {
        name: "limits.requests-per-connection", takes_effect: AtReload,
        set: |s, v| { s.limits.requests_per_connection = value::count(v, 1..=1_000_000_000)?; Ok(()) },
        show: |s| s.limits.requests_per_connection.to_string(),
    },
    ConfigKey {
        name: "timeouts.header", takes_effect: AtReload,
        set: |s, v| { s.timeouts.header = value::time(v, MS * 100..=DAY)?; Ok(()) },
        show: |s| value::show_time(s.timeouts.header),
    },
    ConfigKey {
        name: "timeouts.body", takes_effect: AtReload,
        set: |s, v| { s.timeouts.body = value::time(v, MS * 100..=DAY)?; Ok(()) },
        show: |s| value::show_time(s.timeouts.body),
    },
    ConfigKey {
        name: "timeouts.write", takes_effect: AtReload,
        set: |s, v| { s.timeouts.write = value::time(v, MS * 100..=DAY)?; Ok(()) },
        show: |s| value::show_time(s.timeouts.write),
    },
    ConfigKey {
        name: "timeouts.keep-alive", takes_effect: AtReload,
        set: |s, v| { s.timeouts.keep_alive = value::time(v, MS * 100..=DAY)?; Ok(()) },
        show: |s| value::show_time(s.timeouts.keep_alive),
    },
    ConfigKey {
        name: "timeouts.drain", takes_effect: AtReload,
        set: |s, v| { s.timeouts.drain = value::time(v, MS * 100..=DAY)?; Ok(()) },
        show: |s| value::show_time(s.timeouts.drain),
    },
    ConfigKey {
        name: "pixel.range-error-status", takes_effect: AtReload,
        set: |s, v| { s.pixel.range_error_status = value::status(v, &[200, 400, 422])?; Ok(()) },
        show: |s| s.pixel.range_error_status.to_string(),
    },
    ConfigKey {
        name: "log.level", takes_effect: AtReload,
        set: |s, v| { s.log.level = value::word::<Level>(v, &["error", "warn", "info", "debug"])?; Ok(()) },
        show: |s| value::show_text(s.log.level.name()),
    },
    ConfigKey {
        name: "log.target", takes_effect: AtRestart,
        set: |s, v| { s.log.target = value::word::<Target>(v, &["auto", "journal", "stderr"])?; Ok(()) },
        show: |s| value::show_text(match s.log.target {
            Target::Auto => "auto", Target::Journal => "journal", Target::Stderr => "stderr",
        }),
    },
];

/// Names of keys in 0.1, each with the key; they are accepted with a warning, which 0.3 makes an error.
const OLD_NAMES: [(&str, &str); 2] = [("limits.head", "limits.header"), ("timeouts.head", "timeouts.header")];

impl ConfigKey {
    /// The key whose old name this is.
    pub(super) fn find_old(section: Option<&str>, name: &str) -> Option<&'static Self> {
        let (_, key) =
            OLD_NAMES.iter().find(|(old, _)| old.split_once('.') == section.map(|of| (of, name)))?;
        KEYS.iter().find(|known| known.name == *key)
    }

    pub(super) fn find(section: Option<&str>, name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| match section {
            None => key.name == name,
            Some(section) => key.name.split_once('.') == Some((section, name)),
        })
    }
}

/// The keys whose values differ.
pub fn changes(from: &Settings, to: &Settings) -> Vec<&'static ConfigKey> {
    KEYS.iter().filter(|key| (key.show)(from) != (key.show)(to)).collect()
}
