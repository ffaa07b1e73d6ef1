use super::{config_reader::ReadError, daemon_state::Daemon};
use crate::{
    config::Loaded,
    control::{ControlError, ReloadReply, SettingChange},
    log::{Caller, Event},
};

impl Daemon {
    /// Reads the configuration again and applies it. On an error, nothing changes.
    pub async fn reload(&self, by: &Caller) -> Result<ReloadReply, ControlError> {
        self.ensure_running()?;
        let failed = |error: ReadError| -> ControlError {
            let faults = match &error {
                ReadError::Busy => return error.into(),
                ReadError::Config(errors) => errors.lines(),
                _ => vec![error.to_string()],
            };
            self.log.send(Event::ReloadFailed { faults, by: by.clone() });
            error.into()
        };
        let permit = self.config_reader.acquire().await.map_err(failed)?;
        self.ensure_running()?;
        let _reloading = ReloadGuard::begin(self);
        let read = self.config_reader.read(permit).await;
        // The shutdown may have begun meanwhile.
        self.ensure_running()?;
        let reloaded = read.map_err(failed).and_then(|(_permit, loaded)| self.apply(loaded, by));
        self.config.borrow_mut().last_reload_succeeded = reloaded.is_ok();
        reloaded
    }

    /// Returns the changes that a reload would make.
    pub async fn dry_run_reload(&self) -> Result<ReloadReply, ControlError> {
        let permit = self.config_reader.acquire().await?;
        let (_permit, loaded) = self.config_reader.read(permit).await?;
        let changes = self.config.borrow().changes(&loaded.settings, self.pool.borrow().serving());
        Ok(ReloadReply { applied: false, changes, warnings: loaded.warnings.lines() })
    }

    fn apply(&self, loaded: Loaded, by: &Caller) -> Result<ReloadReply, ControlError> {
        let (settings, warnings) = (&loaded.settings, loaded.warnings.lines());
        let (mut config, mut pool) = (self.config.borrow_mut(), self.pool.borrow_mut());
        let changes = config.changes(settings, pool.serving());
        // The only fallible step is first, so that a failure changes nothing.
        let count = settings.workers.count();
        if count != pool.serving() && config.overrides.workers.is_none() {
            pool.resize(count).map_err(|error| self.log_resize_failure(&error))?;
        }
        pool.set_policy(&settings.into(), settings.limits.connections);
        if config.overrides.log_level.is_none() {
            self.log.set_level(settings.log.level);
        }
        config.replace(loaded);
        let (later, now): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.needs_restart);
        let line = |change: &&SettingChange| {
            let but = if change.overridden { " (the runtime override stays in effect)" } else { "" };
            format!("{}: {} -> {}{but}", change.key, change.from, change.to)
        };
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
}

impl From<ReadError> for ControlError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Config(errors) => Self::InvalidConfiguration { faults: errors.lines() },
            ReadError::Busy => Self::Busy { method: "Reload".into() },
            error => Self::Failed { reason: error.to_string() },
        }
    }
}

/// Notifies systemd of the begin and the end of a reload, also if the caller disconnects meanwhile.
struct ReloadGuard<'d>(&'d Daemon);

impl<'d> ReloadGuard<'d> {
    fn begin(daemon: &'d Daemon) -> Self {
        daemon.notify(|notifier| notifier.reloading());
        Self(daemon)
    }
}

impl Drop for ReloadGuard<'_> {
    fn drop(&mut self) {
        if !self.0.is_stopping.get() {
            let status = self.0.status();
            self.0.notify(|notifier| notifier.ready(&status));
        }
    }
}
