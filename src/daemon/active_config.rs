use std::{collections::BTreeMap, time::SystemTime};

use hyper::StatusCode;

use super::listeners::Listeners;
use crate::{
    config::{self, ConfigKey, KEYS, Loaded, Origin, Settings, TakesEffect},
    control::{Attribution, Setting, SettingChange},
    http::Policy,
    log::Level,
};

/// The configuration in effect: settings from files, and the overrides of operators.
#[derive(Debug)]
pub struct ActiveConfig {
    pub settings: Settings,
    pub overrides: RuntimeOverrides,
    /// When the settings came into effect.
    pub loaded_at: SystemTime,
    /// True if there was no reload.
    pub last_reload_succeeded: bool,
    origins: BTreeMap<&'static str, Origin>,
}

/// Settings that an operator has overridden, until the override is reset or the daemon exits.
#[derive(Debug, Default)]
pub struct RuntimeOverrides {
    pub workers: Option<(usize, Attribution)>,
    pub log_level: Option<(Level, Attribution)>,
}

impl RuntimeOverrides {
    /// Returns the override of this key, as TOML.
    fn of(&self, key: &str) -> Option<(String, Attribution)> {
        match key {
            "workers" => self.workers.clone().map(|(count, by)| (count.to_string(), by)),
            "log.level" => self.log_level.clone().map(|(level, by)| (format!("{:?}", level.name()), by)),
            _ => None,
        }
    }
}

impl ActiveConfig {
    pub fn new(settings: Settings, origins: BTreeMap<&'static str, Origin>) -> Self {
        Self {
            settings,
            overrides: RuntimeOverrides::default(),
            loaded_at: SystemTime::now(),
            last_reload_succeeded: true,
            origins,
        }
    }

    /// Puts a new configuration into effect, except values that need a restart. The next reload reports those as
    /// changed again.
    pub fn replace(&mut self, loaded: Loaded) {
        let Loaded { mut settings, mut origins, .. } = loaded;
        settings.listen.clone_from(&self.settings.listen);
        settings.log.target = self.settings.log.target;
        for key in KEYS.iter().filter(|key| needs_restart(key)) {
            match self.origins.remove(key.name) {
                Some(origin) => origins.insert(key.name, origin),
                None => origins.remove(key.name),
            };
        }
        (self.settings, self.origins) = (settings, origins);
        self.loaded_at = SystemTime::now();
    }

    /// Returns the changes of a reload with these settings; `serving` is the current number of workers.
    pub fn changes(&self, to: &Settings, serving: usize) -> Vec<SettingChange> {
        let change = |key: &ConfigKey, from, to| SettingChange {
            key: key.name.into(),
            from,
            to,
            needs_restart: needs_restart(key),
            overridden: self.overrides.of(key.name).is_some(),
        };
        let changed = config::changes(&self.settings, to);
        let mut changes: Vec<_> =
            changed.iter().map(|key| change(key, (key.show)(&self.settings), (key.show)(to))).collect();
        // "auto" counts the CPUs again, because the CPU quota or affinity may have changed.
        let count = to.workers.count();
        if self.settings.workers == to.workers && self.overrides.workers.is_none() && serving != count {
            let (from, to) = (serving.to_string(), count.to_string());
            let key = "workers".into();
            changes.insert(0, SettingChange { key, from, to, needs_restart: false, overridden: false });
        }
        changes
    }

    /// Returns each key with its value, its origin and its override.
    pub fn describe(&self, listeners: &Listeners) -> Vec<Setting> {
        let setting = |key: &ConfigKey| {
            let (override_value, overridden_by) = self.overrides.of(key.name).unzip();
            let (value, origin) = match listeners.inherited(key.name) {
                Some(addresses) => (addresses, Some("systemd".into())),
                None => ((key.show)(&self.settings), self.origins.get(key.name).map(ToString::to_string)),
            };
            let needs_restart = needs_restart(key);
            Setting { key: key.name.into(), value, origin, needs_restart, override_value, overridden_by }
        };
        KEYS.iter().map(setting).collect()
    }
}

fn needs_restart(key: &ConfigKey) -> bool {
    key.takes_effect == TakesEffect::AtRestart
}

impl From<&Settings> for Policy {
    fn from(settings: &Settings) -> Self {
        Self {
            body_limit: settings.limits.body,
            head_limit: settings.limits.header,
            requests_limit: settings.limits.requests_per_connection,
            head_timeout: settings.timeouts.header,
            body_timeout: settings.timeouts.body,
            write_timeout: settings.timeouts.write,
            keep_alive_timeout: settings.timeouts.keep_alive,
            range_error_status: StatusCode::from_u16(settings.pixel.range_error_status)
                .unwrap_or(StatusCode::UNPROCESSABLE_ENTITY),
        }
    }
}
