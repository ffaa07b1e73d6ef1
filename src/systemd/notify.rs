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

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr};
use sd_notify::NotifyState;
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver};

use crate::environment::NOTIFY_SOCKET;

/// How long systemd waits for a sign of life (`WatchdogSec=`), if it does at all.
pub fn watchdog_timeout() -> Option<Duration> {
    // Zero means the same as in WatchdogSec=: no watchdog.
    sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero())
}

/// Tells the service manager how the daemon is doing. It has its socket from the start: a process that is
/// short of descriptors still feeds the watchdog.
#[derive(Debug)]
pub struct Notifier {
    /// `None` without a service manager.
    manager: Option<Manager>,
    last_status: String,
}

/// The service manager's socket, and the one to send from. It is not connected: the manager may have
/// bound another one under the same name since.
#[derive(Debug)]
struct Manager {
    address: io::Result<SocketAddrUnix>,
    socket: io::Result<UnixDatagram>,
}

/// Whether there is a service manager that can be told things.
pub fn is_managed() -> bool {
    NOTIFY_SOCKET.get().is_some()
}

impl Notifier {
    /// Opens the socket. What goes wrong is reported by the first notification.
    pub fn open() -> Self {
        let manager = NOTIFY_SOCKET.get().map(|address| Manager {
            address: parse(&address),
            socket: UnixDatagram::unbound().and_then(|socket| {
                socket.set_write_timeout(Some(SEND_TIMEOUT))?;
                Ok(socket)
            }),
        });
        Self { manager, last_status: String::new() }
    }

    /// Every listener and worker serves.
    ///
    /// # Errors
    /// Here and below: when the notification socket is named but cannot be written to.
    pub fn ready(&mut self, status: &str) -> io::Result<()> {
        self.last_status = status.into();
        self.send(&[NotifyState::Ready, NotifyState::Status(status)])
    }

    /// Configuration is being read again; [`Self::ready`] has to follow. Both values go in one
    /// datagram, as systemd wants them since version 253.
    pub fn reloading(&self) -> io::Result<()> {
        self.send(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
    }

    /// The line that `systemctl status` shows; sent only when it differs from the last one, and not if the
    /// manager takes nothing at the moment.
    pub fn status(&mut self, status: &str) -> io::Result<()> {
        if self.last_status != status && self.send_at_once(&[NotifyState::Status(status)])? {
            self.last_status = status.into();
        }
        Ok(())
    }

    /// The daemon has begun to stop and may need up to `limit` for it.
    pub fn stopping(&mut self, status: &str, limit: Duration) -> io::Result<()> {
        self.last_status = status.into();
        let limit = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
        self.send(&[
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
        self.send_with(&state, &[descriptor.as_fd()], SendFlags::empty())
    }

    /// Has the manager say when it has dealt with everything that it was told so far (`BARRIER=1`).
    pub fn barrier(&self) -> io::Result<Barrier> {
        let (ours, theirs) = io::pipe()?;
        self.send_with(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()], SendFlags::empty())?;
        Receiver::from_owned_fd(ours.into()).map(Barrier)
    }

    /// Has the manager forget what it keeps under this name.
    pub fn remove_stored(&self, name: &str) -> io::Result<()> {
        self.send(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)])
    }

    /// Everything makes progress. Not sent if the manager takes nothing at the moment: then it has no
    /// time to miss it either.
    pub fn alive(&self) -> io::Result<()> {
        self.send_at_once(&[NotifyState::Watchdog]).map(drop)
    }

    /// Sends it, for which it may wait for [`SEND_TIMEOUT`].
    fn send(&self, state: &[NotifyState<'_>]) -> io::Result<()> {
        self.send_with(state, &[], SendFlags::empty())
    }

    /// Sends it if that can be done without waiting; says whether it did.
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
        let Some(Manager { address, socket }) = &self.manager else { return Ok(()) };
        let again = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
        let (address, socket) = (address.as_ref().map_err(again)?, socket.as_ref().map_err(again)?);
        let datagram: String = state.iter().map(|line| format!("{line}\n")).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("one descriptor can be sent at a time"));
        }
        let datagram = [IoSlice::new(datagram.as_bytes())];
        sendmsg_addr(socket, address, &datagram, &mut control, flags | SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// A manager that takes nothing for so long is stuck. The main thread waits for it where what it sends
/// must not be lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// A path, or an abstract name behind an `@` (sd_notify(3)).
fn parse(address: &OsStr) -> io::Result<SocketAddrUnix> {
    match address.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
        path @ [b'/', ..] => SocketAddrUnix::new(path),
        _ => {
            let reason =
                format!("NOTIFY_SOCKET={}: neither a path nor an abstract socket", address.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
    }
    .map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("NOTIFY_SOCKET={}: {error}", address.display()))
    })
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
            let error = parse(OsStr::new(address)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("NOTIFY_SOCKET={address}: ")), "{error}");
        }
    }

    #[test]
    fn watchdog_does_not_wait_for_a_full_manager() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _full = UnixDatagram::bind(&path).unwrap();
        let manager = Manager { address: parse(path.as_os_str()), socket: UnixDatagram::unbound() };
        let mut notifier = Notifier { manager: Some(manager), last_status: String::new() };
        while notifier.send_at_once(&[NotifyState::Watchdog]).unwrap() {}
        notifier.alive().unwrap();
        notifier.status("Serving").unwrap();
        assert!(notifier.last_status.is_empty(), "it will be sent again");
    }
}
