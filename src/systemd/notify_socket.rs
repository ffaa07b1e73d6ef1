use std::{
    ffi::OsStr,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{ffi::OsStrExt, net::UnixDatagram},
    },
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr},
};
use sd_notify::NotifyState;
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver};

use crate::environment::NOTIFY_SOCKET;

/// Returns the timeout of systemd's watchdog (`WatchdogSec=`), if there is one.
pub fn watchdog_timeout() -> Option<Duration> {
    // Zero means no watchdog, as in WatchdogSec=.
    sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero())
}

/// Sends notifications to systemd. It opens its socket at the start, so that a process without free descriptors can
/// still notify the watchdog.
#[derive(Debug)]
pub struct Notifier {
    /// `None` without systemd, or else its address and the socket for sending. The socket is not connected, because
    /// systemd may bind another one to the same address later.
    manager: Option<io::Result<(SocketAddrUnix, UnixDatagram)>>,
    last_status: String,
}

/// Whether systemd takes notifications.
pub fn is_managed() -> bool {
    NOTIFY_SOCKET.get().is_some()
}

impl Notifier {
    /// Opens the socket. The first notification returns an error of this.
    pub fn open() -> Self {
        let manager = NOTIFY_SOCKET.get().map(|address| {
            let (address, socket) = (parse(&address)?, UnixDatagram::unbound()?);
            socket.set_write_timeout(Some(SEND_TIMEOUT))?;
            Ok((address, socket))
        });
        Self { manager, last_status: String::new() }
    }

    /// Notifies systemd that every listener and worker serves (`READY=1`).
    ///
    /// # Errors
    /// Here and below: when `NOTIFY_SOCKET=` is set but cannot be written to.
    pub fn ready(&mut self, status: &str) -> io::Result<()> {
        self.last_status = status.into();
        self.send(&[NotifyState::Ready, NotifyState::Status(status)])
    }

    /// Notifies systemd that a reload begins; [`Self::ready`] has to follow. Both values are in one datagram, which
    /// systemd requires since version 253.
    pub fn reloading(&self) -> io::Result<()> {
        self.send(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
    }

    /// Sends the line that `systemctl status` shows, if it differs from the last one and sending does not block.
    pub fn status(&mut self, status: &str) -> io::Result<()> {
        if self.last_status != status && self.send_at_once(&[NotifyState::Status(status)])? {
            self.last_status = status.into();
        }
        Ok(())
    }

    /// Notifies systemd that the daemon stops, and may need up to `limit`.
    pub fn stopping(&mut self, status: &str, limit: Duration) -> io::Result<()> {
        self.last_status = status.into();
        let limit = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
        self.send(&[
            NotifyState::Stopping,
            NotifyState::Status(status),
            NotifyState::ExtendTimeoutUsec(limit),
        ])
    }

    /// Has systemd store a descriptor and pass it to the next process with this name, after a restart or a crash
    /// (`FileDescriptorStoreMax=`). A stop of the service closes it.
    pub fn store(&self, name: &str, descriptor: impl AsFd) -> io::Result<()> {
        // Without FDPOLL=0, systemd would remove a socket as soon as its other end is closed.
        let state = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
        self.send_with(&state, &[descriptor.as_fd()], SendFlags::empty())
    }

    /// Requests a confirmation that systemd has processed all notifications so far (`BARRIER=1`).
    pub fn barrier(&self) -> io::Result<Barrier> {
        let (ours, theirs) = io::pipe()?;
        self.send_with(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()], SendFlags::empty())?;
        Receiver::from_owned_fd(ours.into()).map(Barrier)
    }

    /// Has systemd close the stored descriptors with this name.
    pub fn remove_stored(&self, name: &str) -> io::Result<()> {
        self.send(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)])
    }

    /// Notifies the watchdog (`WATCHDOG=1`). It is not sent if sending would block, because systemd then does not
    /// check the watchdog either.
    pub fn alive(&self) -> io::Result<()> {
        self.send_at_once(&[NotifyState::Watchdog]).map(drop)
    }

    /// Sends a notification, and blocks for at most [`SEND_TIMEOUT`].
    fn send(&self, state: &[NotifyState<'_>]) -> io::Result<()> {
        self.send_with(state, &[], SendFlags::empty())
    }

    /// Sends a notification if that does not block. Returns whether it was sent.
    fn send_at_once(&self, state: &[NotifyState<'_>]) -> io::Result<bool> {
        match self.send_with(state, &[], SendFlags::DONTWAIT) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            sent => sent.map(|()| true),
        }
    }

    fn send_with(
        &self,
        state: &[NotifyState<'_>],
        descriptors: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> io::Result<()> {
        let Some(manager) = &self.manager else { return Ok(()) };
        let again = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
        let (address, socket) = manager.as_ref().map_err(again)?;
        let datagram: String = state.iter().map(|line| format!("{line}\n")).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("one descriptor can be sent at a time"));
        }
        let datagram = [IoSlice::new(datagram.as_bytes())];
        match sendmsg_addr(socket, address, &datagram, &mut control, flags | SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN) if !flags.contains(SendFlags::DONTWAIT) => {
                let reason =
                    format!("not sent within {SEND_TIMEOUT:?}, because systemd reads no notifications");
                Err(io::Error::new(io::ErrorKind::TimedOut, reason))
            }
            sent => Ok(sent.map(drop)?),
        }
    }
}

/// Maximum time that the main thread blocks to send a notification that must not be lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Parses a path, or an abstract name after `@` (sd_notify(3)).
fn parse(address: &OsStr) -> io::Result<SocketAddrUnix> {
    match address.as_bytes() {
        [b'@', name @ ..] => Ok(SocketAddrUnix::new_abstract_name(name)?),
        path @ [b'/', ..] => Ok(SocketAddrUnix::new(path)?),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract socket")),
    }
}

/// A request for confirmation that systemd has processed all earlier notifications.
#[derive(Debug)]
pub struct Barrier(Receiver);

impl Barrier {
    /// Waits for the confirmation, without a limit.
    pub async fn passed(mut self) -> io::Result<()> {
        // systemd writes nothing; it closes its end.
        self.0.read(&mut [0]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_address_is_a_path_or_an_abstract_name() {
        for address in ["/run/systemd/notify", "@name", "@"] {
            assert!(parse(OsStr::new(address)).is_ok(), "{address}");
        }
        let long = "/x".repeat(100);
        for address in ["notify", "vsock:2:1", &long] {
            assert!(parse(OsStr::new(address)).is_err(), "{address}");
        }
    }

    #[test]
    fn watchdog_does_not_wait_for_a_full_manager() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _full = UnixDatagram::bind(&path).unwrap();
        let manager = (parse(path.as_os_str()).unwrap(), UnixDatagram::unbound().unwrap());
        let mut notifier = Notifier { manager: Some(Ok(manager)), last_status: String::new() };
        while notifier.send_at_once(&[NotifyState::Watchdog]).unwrap() {}
        notifier.alive().unwrap();
        notifier.status("Serving").unwrap();
        assert!(notifier.last_status.is_empty(), "the next call sends it");
    }
}
