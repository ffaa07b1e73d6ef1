use std::collections::BTreeMap;

use super::{
    config_reader::ReadError,
    listeners::{BindFailure, PreparedListeners},
    state::Daemon,
};
use crate::{
    config::{self, ConfigError, ConfigKey, Loaded, Origin, Settings, TakesEffect},
    control::{ControlError, ReloadReply, SettingChange},
    log::{Caller, Event},
};

impl Daemon {
    /// Reads the configuration again. Either all of it holds afterwards or nothing has changed.
    ///
    /// # Errors
    /// Every fault of every file, a socket that cannot be opened, or a shortage of the operating system.
    pub async fn reload(&self, by: &Caller) -> Result<ReloadReply, ControlError> {
        self.ensure_running()?;
        let permit = self.config_reader.acquire().await.map_err(|error| self.reload_error(&error, by))?;
        self.ensure_running()?;
        let _reloading = ReloadGuard::begin(self);
        let read = self.config_reader.read(permit, &self.sources).await;
        // The daemon may have begun to stop meanwhile.
        self.ensure_running()?;
        let (_permit, loaded) = read.map_err(|error| self.reload_error(&error, by))?;
        self.apply(loaded, by)
    }

    /// What a reload would do. Sockets are not opened for it, but it is seen whether they could be.
    ///
    /// # Errors
    /// Every fault of every file, or a socket that could not be opened.
    pub async fn dry_run_reload(&self) -> Result<ReloadReply, ControlError> {
        let permit = self.config_reader.acquire().await.map_err(|error| reload_error(&error))?;
        let read = self.config_reader.read(permit, &self.sources).await;
        let (_permit, loaded) = read.map_err(|error| reload_error(&error))?;
        let openable = self.listeners.borrow().ensure_bindable(&loaded.settings.listen);
        openable.map_err(|closed| ControlError::InvalidConfiguration {
            faults: vec![fault(closed, &loaded.origins)],
        })?;
        let settings = self.settings.borrow();
        Ok(ReloadReply {
            applied: false,
            changes: self.changes(&settings, &loaded.settings),
            warnings: loaded.warnings.lines(),
        })
    }

    /// Whether only a restart applies a change of this key.
    pub fn needs_restart(&self, key: &ConfigKey) -> bool {
        match key.takes_effect {
            TakesEffect::AtReload => false,
            TakesEffect::AtReloadIfBound => !self.listeners.borrow().is_own(key.name),
            TakesEffect::AtRestart => true,
        }
    }

    /// Why a reload did nothing, logged unless the caller before is the reason.
    fn reload_error(&self, error: &ReadError, by: &Caller) -> ControlError {
        match error {
            ReadError::Config(errors) => self.reject(errors.lines(), by),
            ReadError::Busy => reload_error(error),
            _ => {
                self.log.send(Event::ReloadFailed { faults: vec![error.to_string()], by: by.clone() });
                reload_error(error)
            }
        }
    }

    fn reject(&self, errors: Vec<String>, by: &Caller) -> ControlError {
        self.log.send(Event::ReloadFailed { faults: errors.clone(), by: by.clone() });
        ControlError::InvalidConfiguration { faults: errors }
    }

    fn apply(&self, loaded: Loaded, by: &Caller) -> Result<ReloadReply, ControlError> {
        let Loaded { settings: mut next, origins: mut next_origins, warnings, .. } = loaded;
        let warnings = warnings.lines();
        let changes = self.changes(&self.settings.borrow(), &next);
        let prepared = self.listeners.borrow().prepare(&next.listen);
        let prepared = prepared.map_err(|closed| self.reject(vec![fault(closed, &next_origins)], by))?;
        self.apply_fallible(prepared, &next)?;
        self.pool.borrow_mut().set_policy(&(&next).into(), next.limits.connections);
        if self.overrides.borrow().log_level.is_none() {
            self.log.set_level(next.log.level);
        }
        self.retain_until_restart(&mut next, &mut next_origins);
        self.settings.replace(next);
        self.origins.replace(next_origins);
        let (later, now): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.needs_restart);
        let line = |change: &&SettingChange| format!("{}: {} -> {}", change.key, change.from, change.to);
        self.log.send(Event::Reloaded {
            changed: now.iter().map(line).collect(),
            needs_restart: later.iter().map(|change| change.key.clone()).collect(),
            by: by.clone(),
        });
        if !warnings.is_empty() {
            self.log.send(Event::ConfigDeprecated { warnings: warnings.clone() });
        }
        Ok(ReloadReply { applied: true, changes, warnings })
    }

    /// All of it, or nothing.
    fn apply_fallible(&self, prepared: PreparedListeners, next: &Settings) -> Result<(), ControlError> {
        let before = self.pool.borrow().serving();
        // "auto" is counted again: the CPU quota or the affinity may have changed.
        if before != next.workers.count() && self.overrides.borrow().workers.is_none() {
            let resized = self.pool.borrow_mut().resize(next.workers.count());
            resized.map_err(|error| self.log_resize_failure(&error))?;
        }
        let changed = self.listeners.borrow_mut().replace(prepared, self);
        changed.map_err(|error| {
            // What fails leaves the number of workers as it is, which is told.
            if let Err(error) = self.pool.borrow_mut().resize(before) {
                self.log_resize_failure(&error);
            }
            let reason = format!("cannot serve the sockets that listen asks for: {error}");
            self.log.send(Event::OsError { reason: reason.clone() });
            ControlError::Failed { reason }
        })
    }

    /// What waits for a restart is reported as changed again by the next reload.
    fn retain_until_restart(&self, next: &mut Settings, origins: &mut BTreeMap<&'static str, Origin>) {
        let (settings, before) = (self.settings.borrow(), self.origins.borrow());
        for key in config::KEYS.iter().filter(|key| self.needs_restart(key)) {
            match key.name {
                "listen.http" => next.listen.http.clone_from(&settings.listen.http),
                "listen.control" => next.listen.control.clone_from(&settings.listen.control),
                "listen.admin" => next.listen.admin.clone_from(&settings.listen.admin),
                "log.target" => next.log.target = settings.log.target,
                _ => {}
            }
            match before.get(key.name) {
                Some(origin) => origins.insert(key.name, origin.clone()),
                None => origins.remove(key.name),
            };
        }
    }

    fn changes(&self, from: &Settings, to: &Settings) -> Vec<SettingChange> {
        let overrides = self.overrides.borrow();
        let is_overridden = |key| match key {
            "workers" => overrides.workers.is_some(),
            "log.level" => overrides.log_level.is_some(),
            _ => false,
        };
        let change = |key: &ConfigKey| SettingChange {
            key: key.name.into(),
            from: (key.show)(from),
            to: (key.show)(to),
            needs_restart: self.needs_restart(key),
            overridden: is_overridden(key.name),
        };
        let mut changes: Vec<_> = config::changes(from, to).into_iter().map(change).collect();
        let (serving, count) = (self.pool.borrow().serving(), to.workers.count());
        if from.workers == to.workers && overrides.workers.is_none() && serving != count {
            changes.insert(
                0,
                SettingChange {
                    key: "workers".into(),
                    from: serving.to_string(),
                    to: count.to_string(),
                    needs_restart: false,
                    overridden: false,
                },
            );
        }
        changes
    }
}

fn reload_error(error: &ReadError) -> ControlError {
    match error {
        ReadError::Config(errors) => ControlError::InvalidConfiguration { faults: errors.lines() },
        ReadError::Busy => ControlError::Busy { method: "Reload".into() },
        error => ControlError::Failed { reason: error.to_string() },
    }
}

/// A reload, for the service manager: it ends with its value, also if the caller goes away.
struct ReloadGuard<'h>(&'h Daemon);

impl<'h> ReloadGuard<'h> {
    fn begin(daemon: &'h Daemon) -> Self {
        daemon.notify(|notifier| notifier.reloading());
        Self(daemon)
    }
}

impl Drop for ReloadGuard<'_> {
    fn drop(&mut self) {
        if !self.0.stopping.get() {
            let status = self.0.status();
            self.0.notify(|notifier| notifier.ready(&status));
        }
    }
}

/// With the line that asks for it, unless nothing but a default does.
fn fault(closed: BindFailure, origins: &BTreeMap<&'static str, Origin>) -> String {
    let BindFailure { key, reason } = closed;
    match origins.get(key).cloned() {
        Some(Origin { path, line }) => {
            ConfigError { path, line: Some(line), key: Some(key.into()), message: reason }.to_string()
        }
        None => format!("{key}, at its default: {reason}"),
    }
}
