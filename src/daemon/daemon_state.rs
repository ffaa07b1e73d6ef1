use std::{
    cell::{Cell, RefCell},
    io,
    time::Duration,
};

use super::{
    active_config::ActiveConfig, config_reader::ConfigReader, listeners::Listeners, statistics::Statistics,
};
use crate::{
    control::{ControlError, ServiceState},
    environment::NOTIFY_SOCKET,
    log::{Event, Log, counted},
    systemd::Notifier,
    worker::Pool,
};

/// The state of the running daemon. It belongs to the main thread.
#[derive(Debug)]
pub struct Daemon {
    pub log: Log,
    pub notifier: RefCell<Notifier>,
    pub has_notify_failed: Cell<bool>,
    pub listeners: Listeners,
    pub pool: RefCell<Pool>,
    /// Locked by the call of SetWorkers that resizes the pool.
    pub resizing: tokio::sync::Mutex<()>,
    pub config: RefCell<ActiveConfig>,
    pub config_reader: ConfigReader,
    pub statistics: Statistics,
    pub is_stopping: Cell<bool>,
}

impl Daemon {
    pub fn state(&self) -> ServiceState {
        if self.is_stopping.get() {
            ServiceState::Stopping
        } else if self.statistics.memory.is_drained() {
            ServiceState::Drained
        } else {
            ServiceState::Serving
        }
    }

    /// Rejects changes once the daemon is stopping.
    pub fn ensure_running(&self) -> Result<(), ControlError> {
        if self.is_stopping.get() { Err(ControlError::Stopping) } else { Ok(()) }
    }

    /// Rejects changes from now on.
    pub fn begin_shutdown(&self, cause: &'static str) {
        self.is_stopping.set(true);
        self.log.send(Event::Stopping { cause, open: self.pool.borrow().open() as u64 });
    }

    /// Returns how long requests may take to finish when the daemon stops.
    pub fn drain_limit(&self) -> Duration {
        self.config.borrow().settings.timeouts.drain
    }

    /// Returns the line that `systemctl status` shows.
    pub fn status(&self) -> String {
        let pool = self.pool.borrow();
        let (requests, rate) = self.statistics.requests_and_rate(&pool);
        let workers = counted(pool.serving(), "worker");
        let connections = counted(pool.open(), "connection");
        let failing = pool.accept_errors();
        let state = match failing.as_slice() {
            [] if self.statistics.memory.is_drained() => "Drained (answers 503)".into(),
            [] => "Serving".into(),
            errors => format!("Accepts no connections at {}", errors.join(", ")),
        };
        format!("{state}: {workers}, {connections}, {}, {rate:.0}/s", counted(requests, "request"))
    }

    pub fn notify_status(&self) {
        let status = self.status();
        self.notify(|notifier| notifier.status(&status));
    }

    /// Sends a notification to systemd, and logs the first failure.
    pub fn notify(&self, send: impl FnOnce(&mut Notifier) -> io::Result<()>) {
        if let Err(error) = send(&mut self.notifier.borrow_mut())
            && !self.has_notify_failed.replace(true)
        {
            let socket = NOTIFY_SOCKET.get().unwrap_or_default().display().to_string();
            self.log.send(Event::NotifyFailed { socket, reason: error.to_string() });
        }
    }
}
