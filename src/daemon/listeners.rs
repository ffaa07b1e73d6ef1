use std::{io, iter, path::Path};

use nix::{
    sys::stat::{FileStat, stat},
    unistd::{Gid, Group, getegid},
};
use tokio::sync::oneshot;

use super::{startup_sockets::Sockets, state::Daemon};
use crate::{
    config::Listen,
    control::{self, Access},
    net::{Address, BindError, FdBudget, Listener},
    worker::Pool,
};

/// The sockets that the daemon serves. Those that it has opened itself can change while it runs.
#[derive(Debug)]
pub struct Listeners {
    http: Vec<HttpListener>,
    http_is_own: bool,
    control: ControlListener,
    admin: Option<ControlListener>,
}

/// A listening socket for HTTP.
#[derive(Debug, Clone)]
struct HttpListener {
    /// As the configuration has it; with port 0, perhaps.
    configured: Address,
    /// As the kernel has it.
    address: Address,
}

/// A listening socket for control clients.
#[derive(Debug)]
struct ControlListener {
    listener: Listener,
    /// Dropping it stops accepting; connected clients stay.
    serving: Option<oneshot::Sender<()>>,
}

/// Sockets that are bound and not served yet. Dropping them closes them.
#[derive(Debug, Default)]
pub struct PreparedListeners {
    http: Option<(Vec<HttpListener>, Vec<Listener>)>,
    control: Option<Listener>,
    admin: Option<Listener>,
}

/// A key whose sockets cannot be opened, and why.
#[derive(Debug)]
pub struct BindFailure {
    pub key: &'static str,
    pub reason: String,
}

impl Listeners {
    /// Starts to accept HTTP clients; control clients are served from [`Self::serve_control`] on.
    ///
    /// # Errors
    /// When epoll takes no more descriptors.
    pub fn open(sockets: Sockets, listen: &Listen, pool: &mut Pool) -> io::Result<Self> {
        let http_is_own = sockets.http.iter().any(Listener::is_own);
        let mut configured = listen.http.iter().cloned();
        let mut listener = |listener: &Listener| {
            let address = listener.address().clone();
            let configured = configured.next().filter(|_| http_is_own);
            HttpListener { configured: configured.unwrap_or_else(|| address.clone()), address }
        };
        let http: Vec<_> = sockets.http.iter().map(&mut listener).collect();
        pool.accept(sockets.http, &addresses(&http))?;
        let reception = |listener| ControlListener { listener, serving: None };
        let (control, admin) = (reception(sockets.control), sockets.admin.map(reception));
        Ok(Self { http, http_is_own, control, admin })
    }

    /// A listening socket for HTTP.
    pub fn addresses(&self) -> Vec<String> {
        self.http.iter().map(|listener| listener.address.to_string()).collect()
    }

    /// Whether there is a socket for changing.
    pub fn has_admin(&self) -> bool {
        self.admin.is_some()
    }

    /// Whether the daemon has opened the sockets of this key itself.
    pub fn is_own(&self, key: &str) -> bool {
        match key {
            "listen.http" => self.http_is_own,
            "listen.control" => self.control.listener.is_own(),
            "listen.admin" => self.admin.as_ref().is_some_and(|admin| admin.listener.is_own()),
            _ => false,
        }
    }

    /// The sockets of this key as TOML, where the service manager has opened them; `""` for an admin socket
    /// that it has not.
    pub fn inherited(&self, key: &str) -> Option<String> {
        let quoted = |address: &dyn std::fmt::Display| format!("\"{address}\"");
        let value = match key {
            "listen.http" => {
                let addresses: Vec<_> = self.http.iter().map(|listener| quoted(&listener.address)).collect();
                format!("[{}]", addresses.join(", "))
            }
            "listen.control" => quoted(self.control.listener.address()),
            "listen.admin" => match &self.admin {
                Some(admin) => quoted(admin.listener.address()),
                None => quoted(&""),
            },
            _ => return None,
        };
        (!self.is_own(key)).then_some(value)
    }

    /// Opens what these settings ask for and is not open yet, as far as the sockets are the daemon's own.
    ///
    /// # Errors
    /// The first that cannot be opened; then none is.
    pub fn prepare(&self, listen: &Listen) -> Result<PreparedListeners, BindFailure> {
        let mut prepared = PreparedListeners::default();
        let before: Vec<_> = self.http.iter().map(|listener| &listener.configured).collect();
        if self.http_is_own && before != listen.http.iter().collect::<Vec<_>>() {
            let (mut bound, mut added) = (Vec::new(), Vec::new());
            for configured in &listen.http {
                let kept = self.http.iter().find(|listener| listener.configured == *configured);
                bound.push(if let Some(listener) = kept {
                    listener.clone()
                } else {
                    let listener = self.bind("listen.http", configured)?;
                    let address = listener.address().clone();
                    added.push(listener);
                    HttpListener { configured: configured.clone(), address }
                });
            }
            prepared.http = Some((bound, added));
        }
        if self.control.needs_rebind(&listen.control) {
            prepared.control = Some(self.bind("listen.control", &listen.control)?);
        }
        if self.admin.as_ref().is_some_and(|admin| admin.needs_rebind(&listen.admin)) {
            prepared.admin = Some(self.bind("listen.admin", &listen.admin)?);
        }
        Ok(prepared)
    }

    /// Whether [`Self::prepare`] would do, as far as that can be seen without opening anything.
    ///
    /// # Errors
    /// The first that could not be opened.
    pub fn ensure_bindable(&self, listen: &Listen) -> Result<(), BindFailure> {
        let is_new = |address: &&Address| !self.http.iter().any(|listener| listener.configured == **address);
        let http = listen.http.iter().filter(|_| self.http_is_own).filter(is_new);
        let control = Some(&listen.control).filter(|address| self.control.needs_rebind(address));
        let admin =
            self.admin.iter().find_map(|admin| admin.needs_rebind(&listen.admin).then_some(&listen.admin));
        http.map(|address| ("listen.http", address))
            .chain(control.map(|address| ("listen.control", address)))
            .chain(admin.map(|address| ("listen.admin", address)))
            .try_for_each(|(key, address)| {
                Listener::ensure_bindable(address).map_err(|error| self.bind_failure(key, &error))
            })
    }

    fn bind(&self, key: &'static str, address: &Address) -> Result<Listener, BindFailure> {
        Listener::bind(address).map_err(|error| self.bind_failure(key, &error))
    }

    fn bind_failure(&self, key: &'static str, error: &BindError) -> BindFailure {
        let BindError { address, cause } = error;
        let mut own = self.http.iter().map(|listener| &listener.address).chain(
            iter::once(&self.control).chain(&self.admin).map(|reception| reception.listener.address()),
        );
        let overlapping = own.find(|own| own.overlaps(address));
        let reason = match overlapping.filter(|_| cause.kind() == io::ErrorKind::AddrInUse) {
            Some(own) => format!(
                "cannot listen on {address}: {cause} (by {own} of before: only a restart changes from one \
                 to the other)"
            ),
            None => error.to_string(),
        };
        BindFailure { key, reason }
    }

    /// Serves what was opened, and then closes what it takes the place of. Who is connected stays.
    ///
    /// # Errors
    /// When the operating system is short of something; then everything is as it was.
    pub fn replace(&mut self, prepared: PreparedListeners, daemon: &Daemon) -> io::Result<()> {
        let PreparedListeners { http, control, admin } = prepared;
        let admin =
            admin.map(|listener| ControlListener::open(listener, Access::ReadWrite, daemon)).transpose()?;
        // Its replies name the other one.
        let control = if control.is_some() || admin.is_some() {
            let access = read_access(admin.as_ref().or(self.admin.as_ref()));
            let listener = control.as_ref().unwrap_or(&self.control.listener);
            let serving = serve(listener, access, daemon)?;
            Some((control, serving))
        } else {
            None
        };
        if let Some((bound, added)) = http {
            daemon.pool.borrow_mut().accept(added, &addresses(&bound))?;
            self.http = bound;
        }
        if let Some((listener, serving)) = control {
            if let Some(listener) = listener {
                self.control.listener = listener;
            }
            self.control.serving = Some(serving);
        }
        if let Some(admin) = admin {
            self.admin = Some(admin);
        }
        Ok(())
    }

    /// Serves control clients.
    ///
    /// # Errors
    /// When there is no descriptor or no thread left.
    pub fn serve_control(&mut self, daemon: &Daemon) -> io::Result<()> {
        let access = read_access(self.admin.as_ref());
        self.control.serving = Some(serve(&self.control.listener, access, daemon)?);
        if let Some(admin) = &mut self.admin {
            admin.serving = Some(serve(&admin.listener, Access::ReadWrite, daemon)?);
        }
        Ok(())
    }
}

fn addresses(listeners: &[HttpListener]) -> Vec<Address> {
    listeners.iter().map(|listener| listener.address.clone()).collect()
}

impl ControlListener {
    fn open(listener: Listener, access: Access, daemon: &Daemon) -> io::Result<Self> {
        let serving = Some(serve(&listener, access, daemon)?);
        Ok(Self { listener, serving })
    }

    fn needs_rebind(&self, address: &Address) -> bool {
        self.listener.is_own() && self.listener.address() != address
    }
}

/// Serves control clients in a thread of its own; when the other end of this is dropped, no new ones.
fn serve(listener: &Listener, access: Access, daemon: &Daemon) -> io::Result<oneshot::Sender<()>> {
    let (listener, max_clients) = (listener.try_clone()?, FdBudget::from_rlimit().control_clients());
    let (control, log) = (&daemon.control, daemon.log.clone());
    match access.refusal() {
        Some(refusal) => control::serve(listener, access, max_clients, control.read_only(log, refusal)),
        None => control::serve(listener, access, max_clients, control.read_write(log)),
    }
}

fn read_access(admin: Option<&ControlListener>) -> Access {
    let path = admin.and_then(|admin| admin.listener.address().path());
    Access::ReadOnly { admin: path.map(|path| path.display().to_string()), group: path.and_then(group_of) }
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
