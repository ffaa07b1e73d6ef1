use std::fmt;

/// The origin of a change at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A process that sent this signal; the kernel does not say which.
    Signal(&'static str),
    /// A client of the admin socket.
    Client(Client),
}

/// A client of the admin socket, as the kernel reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its process.
    pub pid: u32,
    /// Its user, or [`Self::OVERFLOW_UID`].
    pub uid: u32,
}

impl Client {
    /// The user that stands for all those who have no number in the user namespace of the daemon
    /// (user_namespaces(7)).
    const OVERFLOW_UID: u32 = 65534;

    /// Returns its user, if the daemon sees it.
    pub fn visible_uid(&self) -> Option<u32> {
        (self.uid != Self::OVERFLOW_UID).then_some(self.uid)
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(name) => f.write_str(name),
            Self::Client(client) => client.fmt(f),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid;
        match self.visible_uid() {
            Some(0) => write!(f, "root (pid {pid})"),
            Some(uid) => write!(f, "uid {uid} (pid {pid})"),
            None => write!(f, "pid {pid}"),
        }
    }
}
