use std::{io, path::Path};

use nix::{
    sys::stat::{FileStat, stat},
    unistd::{Gid, Group, getegid},
};

use super::{control_queue::ControlHandle, startup_sockets::Sockets};
use crate::{
    control::{self, Access},
    log::Log,
    net::{Address, FdBudget, Listener},
    worker::Pool,
};

/// The listening sockets, as they are from the start to the end of the process.
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
    ///
    /// # Errors
    /// When there is no descriptor or no thread left.
    pub fn open(sockets: Sockets, pool: &mut Pool, control: &ControlHandle, log: &Log) -> io::Result<Self> {
        let Sockets { http: listeners, control: read_only, admin } = sockets;
        let http = listeners.iter().map(|listener| listener.address().clone()).collect();
        let http_is_inherited = !listeners.iter().any(Listener::is_own);
        pool.accept(listeners)?;
        if let Some(admin) = &admin {
            serve(admin, Access::ReadWrite, control, log)?;
        }
        // Refusals of the control socket name the admin socket.
        let path = admin.as_ref().and_then(|admin| admin.address().path());
        let group = path.and_then(group_of);
        let access = Access::ReadOnly { admin: path.map(|path| path.display().to_string()), group };
        serve(&read_only, access, control, log)?;
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

    /// Returns the sockets of this key as TOML if systemd has passed them; `""` for an admin socket that it has
    /// not.
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

/// Serves control clients in a thread of its own.
fn serve(listener: &Listener, access: Access, control: &ControlHandle, log: &Log) -> io::Result<()> {
    let handler = control.handler(&access, log.clone());
    control::serve(listener.try_clone()?, access, FdBudget::from_rlimit().control_clients(), handler)
}

/// The group whose members may write to a socket, if it is not its owner's alone.
fn group_of(socket: &Path) -> Option<String> {
    /// What a group outside the daemon's namespace looks like (user_namespaces(7)).
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
