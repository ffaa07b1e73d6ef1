use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver};

/// How long systemd waits for a sign of life (`WatchdogSec=`), if it does at all.
pub fn watchdog_timeout() -> Option<Duration> {
    // No time at all means the same as in WatchdogSec=: nobody waits.
    sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero())
}

/// Tells the service manager how the daemon is doing.
#[derive(Debug, Default)]
pub struct Notifier {
    last_status: String,
}

/// Whether there is a service manager that can be told things.
pub fn is_managed() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

impl Notifier {
    /// Every listener and worker serves.
    ///
    /// # Errors
    /// Here and below: when the notification socket is named but cannot be written to.
    pub fn ready(&mut self, status: &str) -> io::Result<()> {
        self.last_status = status.into();
        sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
    }

    /// Configuration is being read again; [`Self::ready`] has to follow. Both values go in one
    /// datagram, as systemd wants them since version 253.
    pub fn reloading(&self) -> io::Result<()> {
        sd_notify::notify(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
    }

    /// The line that `systemctl status` shows; sent only when it differs from the last one.
    pub fn status(&mut self, status: &str) -> io::Result<()> {
        if self.last_status == status {
            return Ok(());
        }
        self.last_status = status.into();
        sd_notify::notify(&[NotifyState::Status(status)])
    }

    /// The daemon has begun to stop and may need up to `limit` for it.
    pub fn stopping(&mut self, status: &str, limit: Duration) -> io::Result<()> {
        self.last_status = status.into();
        let limit = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
        sd_notify::notify(&[
            NotifyState::Stopping,
            NotifyState::Status(status),
            NotifyState::ExtendTimeoutUsec(limit),
        ])
    }

    /// Has the manager keep a descriptor, and pass it to the next process under this name. It does
    /// so over restarts and crashes, not over a stop (`FileDescriptorStoreMax=`).
    pub fn store(&self, name: &str, descriptor: impl AsFd) -> io::Result<()> {
        // Without FDPOLL=0, a socket whose other end is closed would be forgotten at once.
        let state = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
        let descriptors: [BorrowedFd<'_>; 1] = [descriptor.as_fd()];
        sd_notify::notify_with_fds(&state, &descriptors)
    }

    /// Has the manager say when it has dealt with everything that it was told so far (`BARRIER=1`).
    pub fn barrier(&self) -> io::Result<Barrier> {
        let (ours, theirs) = io::pipe()?;
        sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()])?;
        Receiver::from_owned_fd(ours.into()).map(Barrier)
    }

    /// Has the manager forget what it keeps under this name.
    pub fn remove_stored(&self, name: &str) -> io::Result<()> {
        sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)])
    }

    /// Everything makes progress.
    pub fn alive(&self) -> io::Result<()> {
        sd_notify::notify(&[NotifyState::Watchdog])
    }
}

/// What the manager was told before this, it has dealt with when it has passed this.
#[derive(Debug)]
pub struct Barrier(Receiver);

impl Barrier {
    /// Waits for that, without an end. Signals do not disturb it.
    pub async fn passed(mut self) -> io::Result<()> {
        // Nothing is ever written: the manager closes its end.
        self.0.read(&mut [0]).await.map(drop)
    }
}
