use super::{config_reader::ReadError, state::Daemon};
use crate::{
    config::{self, ConfigKey, KEYS, Loaded, Settings, TakesEffect},
    control::{ControlError, ReloadReply, SettingChange},
    log::{Caller, Event},
};

impl Daemon {
    /// Reads the configuration again. Either all of it holds afterwards or nothing has changed.
    ///
    /// # Errors
    /// Every error of every file, or a shortage of threads.
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

    /// Returns what a reload would do.
    ///
    /// # Errors
    /// Every error of every file.
    pub async fn dry_run_reload(&self) -> Result<ReloadReply, ControlError> {
        let permit = self.config_reader.acquire().await.map_err(|error| reload_error(&error))?;
        let read = self.config_reader.read(permit, &self.sources).await;
        let (_permit, loaded) = read.map_err(|error| reload_error(&error))?;
        let changes = self.changes(&self.settings.borrow(), &loaded.settings);
        Ok(ReloadReply { applied: false, changes, warnings: loaded.warnings.lines() })
    }

    /// Why a reload did nothing, logged unless the caller before is the reason.
    fn reload_error(&self, error: &ReadError, by: &Caller) -> ControlError {
        let faults = match error {
            ReadError::Busy => return reload_error(error),
            ReadError::Config(errors) => errors.lines(),
            _ => vec![error.to_string()],
        };
        self.log.send(Event::ReloadFailed { faults, by: by.clone() });
        reload_error(error)
    }

    fn apply(&self, mut loaded: Loaded, by: &Caller) -> Result<ReloadReply, ControlError> {
        let changes = self.changes(&self.settings.borrow(), &loaded.settings);
        self.retain_until_restart(&mut loaded);
        let Loaded { settings, origins, warnings, .. } = loaded;
        let warnings = warnings.lines();
        // The only step that can fail comes first, so that a failure changes nothing. "auto" is counted again: the
        // CPU quota or the affinity may have changed.
        let count = settings.workers.count();
        if count != self.pool.borrow().serving() && self.overrides.borrow().workers.is_none() {
            let resized = self.pool.borrow_mut().resize(count);
            resized.map_err(|error| self.log_resize_failure(&error))?;
        }
        self.pool.borrow_mut().set_policy(&(&settings).into(), settings.limits.connections);
        if self.overrides.borrow().log_level.is_none() {
            self.log.set_level(settings.log.level);
        }
        self.settings.replace(settings);
        self.origins.replace(origins);
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

    /// Keeps the values that need a restart, so that the next reload reports them as changed again.
    fn retain_until_restart(&self, loaded: &mut Loaded) {
        let (settings, origins) = (self.settings.borrow(), self.origins.borrow());
        loaded.settings.listen.clone_from(&settings.listen);
        loaded.settings.log.target = settings.log.target;
        for key in KEYS.iter().filter(|key| key.takes_effect == TakesEffect::AtRestart) {
            match origins.get(key.name) {
                Some(origin) => loaded.origins.insert(key.name, origin.clone()),
                None => loaded.origins.remove(key.name),
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
            needs_restart: key.takes_effect == TakesEffect::AtRestart,
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
