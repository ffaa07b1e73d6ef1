use std::{io, path::Path};

use nix::{
    sys::stat::{FileStat, stat},
    unistd::{Gid, Group, getegid},
};

use super::{args::SocketMode, control_queue::ControlQueue};
use crate::{
    config::Listen,
    control::{self, Access},
    exit::Exit,
    log::{Event, Log},
    net::{Address, BindError, FdBudget, Listener},
    systemd::{Inherited, other_recipient},
    worker::Pool,
};

/// The listening sockets before they are served: those that systemd passed, and those that the daemon opened.
#[derive(Debug)]
pub struct Sockets {
    pub http: Vec<Listener>,
    pub control: Listener,
    /// Missing if systemd opens the sockets and `pixeld-admin.socket` is not enabled.
    pub admin: Option<Listener>,
}

impl Sockets {
    /// Takes the sockets that systemd passed, and with [`SocketMode::Bind`] opens the others at their addresses
    /// in `[listen]`. Logs each failure.
    ///
    /// # Errors
    /// The exit code: 78 if systemd did not pass a required socket, 71 if a socket cannot be opened.
    pub fn acquire(
        mut inherited: Inherited,
        mode: SocketMode,
        listen: &Listen,
        log: &Log,
    ) -> Result<Self, Exit> {
        for rejected in inherited.rejected.drain(..) {
            log.send(Event::SocketRejected { name: rejected.name, reason: rejected.reason });
        }
        if mode == SocketMode::Inherited {
            let missing: Vec<_> = [
                ("http", "pixeld.socket or pixeld-tcp.socket", inherited.http.is_empty()),
                ("control", "pixeld-control.socket", inherited.control.is_none()),
            ]
            .into_iter()
            .filter_map(|(name, unit, missing)| missing.then_some(format!("{name} ({unit})")))
            .collect();
            if !missing.is_empty() {
                let mut reason =
                    format!("Sockets not passed by systemd: {}; start these units", missing.join(", "));
                if let Some(pid) = other_recipient() {
                    reason += &format!(
                        "; LISTEN_PID={pid} is another process (this one: {}), so remove the wrapper or \
                     PrivatePIDs=",
                        std::process::id()
                    );
                }
                log.send(Event::SocketFailed { reason });
                return Err(Exit::Config);
            }
        }
        Self::open_missing(inherited, mode, listen).map_err(|error| {
            log.send(Event::SocketFailed { reason: format!("Cannot start: {error}") });
            Exit::OsErr
        })
    }

    fn open_missing(inherited: Inherited, mode: SocketMode, listen: &Listen) -> Result<Self, BindError> {
        let Inherited { http, control, admin, .. } = inherited;
        let http = if http.is_empty() {
            listen.http.iter().map(Listener::bind).collect::<Result<_, _>>()?
        } else {
            http
        };
        let control = control.map_or_else(|| Listener::bind(&listen.control), Ok)?;
        let admin = match admin {
            None if mode != SocketMode::Inherited => Some(Listener::bind(&listen.admin)?),
            admin => admin,
        };
        Ok(Self { http, control, admin })
    }
}

/// The listening sockets in use. They stay the same until the process exits.
#[derive(Debug)]
pub struct Listeners {
    http: Vec<Address>,
    /// Whether systemd has passed the HTTP sockets.
    http_is_inherited: bool,
    control: Listener,
    admin: Option<Listener>,
}

impl Listeners {
    /// Starts to accept HTTP clients and to serve control clients.
    pub fn open(sockets: Sockets, pool: &mut Pool, queue: &ControlQueue, log: &Log) -> io::Result<Self> {
        let Sockets { http: listeners, control: read_only, admin } = sockets;
        let http = listeners.iter().map(|listener| listener.address().clone()).collect();
        let http_is_inherited = !listeners.iter().any(Listener::is_own);
        pool.accept(listeners)?;
        if let Some(admin) = &admin {
            serve(admin, Access::ReadWrite, queue, log)?;
        }
        // An error reply of the control socket names the admin socket.
        let path = admin.as_ref().and_then(|admin| admin.address().path());
        let group = path.and_then(group_of);
        let access = Access::ReadOnly { admin: path.map(|path| path.display().to_string()), group };
        serve(&read_only, access, queue, log)?;
        Ok(Self { http, http_is_inherited, control: read_only, admin })
    }

    /// Returns the addresses of the HTTP sockets.
    pub fn addresses(&self) -> Vec<String> {
        self.http.iter().map(ToString::to_string).collect()
    }

    /// Whether there is a socket for changes.
    pub fn has_admin(&self) -> bool {
        self.admin.is_some()
    }

    /// Returns the addresses of this key as TOML if systemd passed the sockets; `""` without an admin socket.
    pub fn inherited(&self, key: &str) -> Option<String> {
        let of = |control: &Listener| (!control.is_own()).then(|| format!("\"{}\"", control.address()));
        match key {
            "listen.http" if self.http_is_inherited => {
                let addresses: Vec<_> = self.http.iter().map(|address| format!("\"{address}\"")).collect();
                Some(format!("[{}]", addresses.join(", ")))
            }
            "listen.control" => of(&self.control),
            "listen.admin" => self.admin.as_ref().map_or_else(|| Some("\"\"".into()), of),
            _ => None,
        }
    }
}

/// Serves the clients of a control socket in a separate thread.
fn serve(listener: &Listener, access: Access, queue: &ControlQueue, log: &Log) -> io::Result<()> {
    let handler = queue.handler(&access, log.clone());
    control::serve(listener.try_clone()?, access, FdBudget::from_rlimit().control_clients(), handler)
}

/// Returns the group whose members may connect to a socket, if the mode of its file allows a group.
fn group_of(socket: &Path) -> Option<String> {
    /// The GID of a group outside the daemon's namespace (user_namespaces(7)).
    const OVERFLOW_GID: u32 = 65534;
    /// The group of the installed unit, which is outside.
    const INSTALLED: &str = "pixeld-admin";

    let is_shared = |file: &FileStat| file.st_mode & 0o020 != 0 && file.st_gid != getegid().as_raw();
    let file = stat(socket).ok().filter(is_shared)?;
    if file.st_gid == OVERFLOW_GID {
        return Some(INSTALLED.into());
    }
    match Group::from_gid(Gid::from_raw(file.st_gid)) {
        Ok(Some(group)) => Some(group.name),
        _ => Some(file.st_gid.to_string()),
    }
}
