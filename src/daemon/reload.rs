use std::{collections::BTreeMap, io};

use super::{
    doors::{Closed, Opened},
    house::{House, policy},
};
use crate::{
    config::{self, Applies, Fault, Key, Loaded, Origin, Settings},
    control::{ControlError, Reloaded, SettingChange},
    log::Event,
};

impl House {
    /// Reads the configuration again. Either all of it holds afterwards or nothing has changed.
    ///
    /// # Errors
    /// Every fault of every file, a socket that cannot be opened, or a shortage of the operating system.
    pub fn reload(&self, by: &str) -> Result<Reloaded, ControlError> {
        self.is_to_change()?;
        self.notify(|notifier| notifier.reloading());
        let loaded = self.sources.load().map_err(|faults| self.refuse(faults.lines(), by));
        let result = loaded.and_then(|loaded| self.apply(loaded, by));
        let status = self.status();
        self.notify(|notifier| notifier.ready(&status));
        result
    }

    /// What a reload would do. Sockets are not opened for it, but it is seen whether they could be.
    ///
    /// # Errors
    /// Every fault of every file, or a socket that could not be opened.
    pub fn try_reload(&self) -> Result<Reloaded, ControlError> {
        let refused = |faults: config::Faults| ControlError::InvalidConfiguration { faults: faults.lines() };
        let loaded = self.sources.load().map_err(refused)?;
        let openable = self.doors.borrow().try_to_prepare(&loaded.settings.listen);
        openable.map_err(|closed| ControlError::InvalidConfiguration {
            faults: vec![fault(closed, &loaded.origins)],
        })?;
        let settings = self.settings.borrow();
        Ok(Reloaded { applied: false, changes: self.changes(&settings, &loaded.settings) })
    }

    /// Whether only a restart applies a change of this key.
    pub fn needs_restart(&self, key: &Key) -> bool {
        match key.applies {
            Applies::Live => false,
            Applies::WhereOwn => !self.doors.borrow().are_own(key.name),
            Applies::AtRestart => true,
        }
    }

    fn refuse(&self, faults: Vec<String>, by: &str) -> ControlError {
        self.log.send(Event::ReloadRefused { faults: faults.clone(), by: by.into() });
        ControlError::InvalidConfiguration { faults }
    }

    fn apply(&self, loaded: Loaded, by: &str) -> Result<Reloaded, ControlError> {
        let Loaded { settings: mut next, origins: mut next_origins, .. } = loaded;
        let changes = self.changes(&self.settings.borrow(), &next);
        let opened = self.doors.borrow().prepare(&next.listen);
        let opened = opened.map_err(|closed| self.refuse(vec![fault(closed, &next_origins)], by))?;
        self.apply_what_may_fail(opened, &next)?;
        self.pool.borrow_mut().adopt(&policy(&next), next.limits.connections);
        if self.by_hand.borrow().log_level.is_none() {
            self.log.set_level(next.log.level);
        }
        self.keep_what_waits(&mut next, &mut next_origins);
        self.settings.replace(next);
        self.origins.replace(next_origins);
        let (later, now): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.needs_restart);
        let line = |change: &&SettingChange| format!("{}: {} -> {}", change.key, change.from, change.to);
        self.log.send(Event::Reloaded {
            changed: now.iter().map(line).collect(),
            needs_restart: later.iter().map(|change| change.key.clone()).collect(),
            by: by.into(),
        });
        Ok(Reloaded { applied: true, changes })
    }

    /// All of it, or nothing.
    fn apply_what_may_fail(&self, opened: Opened, next: &Settings) -> Result<(), ControlError> {
        let before = self.pool.borrow().serving();
        if self.settings.borrow().workers != next.workers && self.by_hand.borrow().workers.is_none() {
            let resized = self.pool.borrow_mut().resize(next.workers.count());
            resized.map_err(|error| self.no_workers(&error))?;
        }
        let house = self.shared().ok_or_else(|| io::Error::other("the daemon ends"));
        let changed = house.and_then(|house| self.doors.borrow_mut().change(opened, &house));
        changed.map_err(|error| {
            // What fails leaves the number of workers as it is, which is told.
            if let Err(error) = self.pool.borrow_mut().resize(before) {
                self.no_workers(&error);
            }
            let reason = format!("cannot serve the sockets that listen asks for: {error}");
            self.log.send(Event::SystemRefused { reason: reason.clone() });
            ControlError::Failed { reason }
        })
    }

    /// What waits for a restart is reported as changed again by the next reload.
    fn keep_what_waits(&self, next: &mut Settings, origins: &mut BTreeMap<&'static str, Origin>) {
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
        let by_hand = self.by_hand.borrow();
        let is_set_by_hand = |key| match key {
            "workers" => by_hand.workers.is_some(),
            "log.level" => by_hand.log_level.is_some(),
            _ => false,
        };
        let change = |key: &Key| SettingChange {
            key: key.name.into(),
            from: (key.show)(from),
            to: (key.show)(to),
            needs_restart: self.needs_restart(key),
            set_by_hand: is_set_by_hand(key.name),
        };
        config::changes(from, to).into_iter().map(change).collect()
    }
}

/// With the line that asks for it, unless nothing but a default does.
fn fault(closed: Closed, origins: &BTreeMap<&'static str, Origin>) -> String {
    let Closed { key, reason } = closed;
    match origins.get(key).cloned() {
        Some(Origin { path, line }) => {
            Fault { path, line: Some(line), key: Some(key.into()), message: reason }.to_string()
        }
        None => format!("{key}, at its default: {reason}"),
    }
}
