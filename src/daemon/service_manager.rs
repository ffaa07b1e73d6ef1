use std::{
    cell::{Cell, RefCell},
    io,
};

use crate::{
    log::{Event, Log},
    systemd::Notifier,
};

/// The connection to the service manager. Its first failure is logged.
#[derive(Debug)]
pub struct ServiceManager {
    notifier: RefCell<Notifier>,
    has_failed: Cell<bool>,
    log: Log,
}

impl ServiceManager {
    pub fn connect(log: Log) -> Self {
        Self { notifier: RefCell::new(Notifier::open()), has_failed: Cell::new(false), log }
    }

    pub fn notify(&self, send: impl FnOnce(&mut Notifier) -> io::Result<()>) {
        if let Err(error) = self.ask(send)
            && !self.has_failed.replace(true)
        {
            self.log.send(Event::NotifyFailed { reason: error.to_string() });
        }
    }

    /// Sends a request that the daemon can do without. The caller reports a failure.
    pub fn ask<T>(&self, send: impl FnOnce(&mut Notifier) -> io::Result<T>) -> io::Result<T> {
        send(&mut self.notifier.borrow_mut())
    }
}
