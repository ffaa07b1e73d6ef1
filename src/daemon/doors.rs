use std::{io, iter, path::Path, rc::Rc};

use nix::{
    sys::stat::{FileStat, stat},
    unistd::{Gid, Group, getegid},
};
use tokio::sync::oneshot;

use super::{house::House, sockets::Sockets};
use crate::{
    config::Listen,
    control::{self, Access},
    net::{Address, BindError, Files, Listener},
    worker::Pool,
};

/// The sockets that the daemon serves. Those that it has opened itself can change while it runs.
#[derive(Debug)]
pub struct Doors {
    http: Vec<Door>,
    http_is_own: bool,
    control: Reception,
    admin: Option<Reception>,
}

/// Where requests are taken.
#[derive(Debug, Clone)]
struct Door {
    /// As the configuration has it; with port 0, perhaps.
    configured: Address,
    /// As the kernel has it.
    address: Address,
}

/// Where control clients are received.
#[derive(Debug)]
struct Reception {
    listener: Listener,
    /// Its end is that of accepting, not of those who were accepted.
    serving: Option<oneshot::Sender<()>>,
}

/// Sockets that are open, and that nobody serves yet. Dropping them closes them.
#[derive(Debug, Default)]
pub struct Opened {
    http: Option<(Vec<Door>, Vec<Listener>)>,
    control: Option<Listener>,
    admin: Option<Listener>,
}

/// A key whose sockets cannot be opened, and why.
#[derive(Debug)]
pub struct Closed {
    pub key: &'static str,
    pub reason: String,
}

impl Doors {
    /// Begins to accept clients; control clients are received when there is somebody to do it.
    ///
    /// # Errors
    /// When epoll takes no more descriptors.
    pub fn open(sockets: Sockets, listen: &Listen, pool: &mut Pool) -> io::Result<Self> {
        let http_is_own = sockets.http.iter().any(Listener::is_own);
        let mut configured = listen.http.iter().cloned();
        let mut door = |listener: &Listener| {
            let address = listener.address().clone();
            let configured = configured.next().filter(|_| http_is_own);
            Door { configured: configured.unwrap_or_else(|| address.clone()), address }
        };
        let http: Vec<_> = sockets.http.iter().map(&mut door).collect();
        pool.accept(sockets.http, &addresses(&http))?;
        let reception = |listener| Reception { listener, serving: None };
        let (control, admin) = (reception(sockets.control), sockets.admin.map(reception));
        Ok(Self { http, http_is_own, control, admin })
    }

    /// Where requests are taken.
    pub fn addresses(&self) -> Vec<String> {
        self.http.iter().map(|door| door.address.to_string()).collect()
    }

    /// Whether there is a socket for changing.
    pub fn take_changes(&self) -> bool {
        self.admin.is_some()
    }

    /// Whether the daemon has opened the sockets of this key itself.
    pub fn are_own(&self, key: &str) -> bool {
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
                let addresses: Vec<_> = self.http.iter().map(|door| quoted(&door.address)).collect();
                format!("[{}]", addresses.join(", "))
            }
            "listen.control" => quoted(self.control.listener.address()),
            "listen.admin" => match &self.admin {
                Some(admin) => quoted(admin.listener.address()),
                None => quoted(&""),
            },
            _ => return None,
        };
        (!self.are_own(key)).then_some(value)
    }

    /// Opens what these settings ask for and is not open yet, as far as the sockets are the daemon's own.
    ///
    /// # Errors
    /// The first that cannot be opened; then none is.
    pub fn prepare(&self, listen: &Listen) -> Result<Opened, Closed> {
        let mut opened = Opened::default();
        let before: Vec<_> = self.http.iter().map(|door| &door.configured).collect();
        if self.http_is_own && before != listen.http.iter().collect::<Vec<_>>() {
            let (mut doors, mut listeners) = (Vec::new(), Vec::new());
            for configured in &listen.http {
                let kept = self.http.iter().find(|door| door.configured == *configured);
                doors.push(if let Some(door) = kept {
                    door.clone()
                } else {
                    let listener = self.bind("listen.http", configured)?;
                    let address = listener.address().clone();
                    listeners.push(listener);
                    Door { configured: configured.clone(), address }
                });
            }
            opened.http = Some((doors, listeners));
        }
        if self.control.is_to_move(&listen.control) {
            opened.control = Some(self.bind("listen.control", &listen.control)?);
        }
        if self.admin.as_ref().is_some_and(|admin| admin.is_to_move(&listen.admin)) {
            opened.admin = Some(self.bind("listen.admin", &listen.admin)?);
        }
        Ok(opened)
    }

    /// Whether [`Self::prepare`] would do, as far as that can be seen without opening anything.
    ///
    /// # Errors
    /// The first that could not be opened.
    pub fn try_to_prepare(&self, listen: &Listen) -> Result<(), Closed> {
        let is_new = |address: &&Address| !self.http.iter().any(|door| door.configured == **address);
        let http = listen.http.iter().filter(|_| self.http_is_own).filter(is_new);
        let control = Some(&listen.control).filter(|address| self.control.is_to_move(address));
        let admin =
            self.admin.iter().find_map(|admin| admin.is_to_move(&listen.admin).then_some(&listen.admin));
        http.map(|address| ("listen.http", address))
            .chain(control.map(|address| ("listen.control", address)))
            .chain(admin.map(|address| ("listen.admin", address)))
            .try_for_each(|(key, address)| {
                Listener::try_bind(address).map_err(|error| self.closed(key, &error))
            })
    }

    fn bind(&self, key: &'static str, address: &Address) -> Result<Listener, Closed> {
        Listener::bind(address).map_err(|error| self.closed(key, &error))
    }

    fn closed(&self, key: &'static str, error: &BindError) -> Closed {
        let BindError { address, cause } = error;
        let mut own = self.http.iter().map(|door| &door.address).chain(
            iter::once(&self.control).chain(&self.admin).map(|reception| reception.listener.address()),
        );
        let in_the_way = own.find(|own| own.overlaps(address));
        let reason = match in_the_way.filter(|_| cause.kind() == io::ErrorKind::AddrInUse) {
            Some(own) => format!(
                "cannot listen on {address}: {cause} (by {own} of before: only a restart changes from one \
                 to the other)"
            ),
            None => error.to_string(),
        };
        Closed { key, reason }
    }

    /// Serves what was opened, and then closes what it takes the place of. Who is connected stays.
    ///
    /// # Errors
    /// When the operating system is short of something; then everything is as it was.
    pub fn change(&mut self, opened: Opened, house: &Rc<House>) -> io::Result<()> {
        let Opened { http, control, admin } = opened;
        let admin = admin.map(|listener| Reception::open(listener, Access::ReadWrite, house)).transpose()?;
        // Its replies name the other one.
        let control = if control.is_some() || admin.is_some() {
            let access = read_access(admin.as_ref().or(self.admin.as_ref()));
            let listener = control.as_ref().unwrap_or(&self.control.listener);
            let serving = serve(listener, access, house)?;
            Some((control, serving))
        } else {
            None
        };
        if let Some((doors, listeners)) = http {
            house.pool.borrow_mut().accept(listeners, &addresses(&doors))?;
            self.http = doors;
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

    /// Receives control clients.
    ///
    /// # Errors
    /// When there is no descriptor or no thread left.
    pub fn receive(&mut self, house: &Rc<House>) -> io::Result<()> {
        let access = read_access(self.admin.as_ref());
        self.control.serving = Some(serve(&self.control.listener, access, house)?);
        if let Some(admin) = &mut self.admin {
            admin.serving = Some(serve(&admin.listener, Access::ReadWrite, house)?);
        }
        Ok(())
    }
}

fn addresses(doors: &[Door]) -> Vec<Address> {
    doors.iter().map(|door| door.address.clone()).collect()
}

impl Reception {
    fn open(listener: Listener, access: Access, house: &Rc<House>) -> io::Result<Self> {
        let serving = Some(serve(&listener, access, house)?);
        Ok(Self { listener, serving })
    }

    fn is_to_move(&self, address: &Address) -> bool {
        self.listener.is_own() && self.listener.address() != address
    }
}

/// Serves control clients in a thread of its own; when the other end of this is dropped, no new ones.
fn serve(listener: &Listener, access: Access, house: &Rc<House>) -> io::Result<oneshot::Sender<()>> {
    let (listener, max_clients) = (listener.try_clone()?, Files::allowed().control_clients());
    let (control, log) = (&house.control, house.log.clone());
    match access.refusal() {
        Some(refusal) => control::serve(listener, access, max_clients, control.read_only(refusal), log),
        None => control::serve(listener, access, max_clients, control.read_write(), log),
    }
}

fn read_access(admin: Option<&Reception>) -> Access {
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
