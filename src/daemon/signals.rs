use std::{future::pending, io};

use nix::sys::signal;
use tokio::signal::unix::{Signal, SignalKind, signal as listen};

/// Ignored signals, which would end or stop the process by default. Some have a meaning in other servers. SIGXFSZ
/// only repeats the error of a write.
pub const IGNORED: [signal::Signal; 5] = [
    signal::Signal::SIGUSR1,
    signal::Signal::SIGUSR2,
    signal::Signal::SIGTTIN,
    signal::Signal::SIGTTOU,
    signal::Signal::SIGXFSZ,
];

/// The signals that stop the daemon.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for the next one, and returns its name.
    pub async fn recv(&mut self) -> &'static str {
        tokio::select! {
            Some(()) = self.terminate.recv() => "SIGTERM",
            Some(()) = self.interrupt.recv() => "SIGINT",
            else => pending().await,
        }
    }
}

/// Listens for the signal that reloads the configuration.
pub fn hangup() -> io::Result<Signal> {
    listen(SignalKind::hangup())
}
