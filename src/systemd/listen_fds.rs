use std::{io, os::fd::OwnedFd};

use crate::{
    environment::LISTEN_PID,
    net::{Address, Listener},
    sys,
};

/// The descriptors that systemd passed, by their names (`FileDescriptorName=`).
#[derive(Debug, Default)]
pub struct Inherited {
    /// `http`: any number of sockets.
    pub http: Vec<Listener>,
    /// `control`: one Unix socket.
    pub control: Option<Listener>,
    /// `admin`: one Unix socket.
    pub admin: Option<Listener>,
    /// `counters`: the memory with the counters of previous processes, the newest first.
    pub counters: Vec<OwnedFd>,
    /// `connections`: sockets with the connections that the previous process handed off.
    pub connections: Vec<OwnedFd>,
    /// Descriptors that are not used; they are closed.
    pub rejected: Vec<Rejected>,
}

/// The name in the descriptor store for the memory with the counters.
pub const COUNTERS: &str = "counters";

/// The name in the descriptor store for sockets with connections.
pub const CONNECTIONS: &str = "connections";

/// A descriptor that is not used.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    pub name: String,
    pub reason: String,
}

/// Takes and checks all descriptors that systemd passed.
///
/// # Errors
/// When the variables that describe them contradict each other, and at a second call.
pub fn take_inherited() -> io::Result<Inherited> {
    Ok(sort(sys::take_listen_fds()?))
}

/// Returns `LISTEN_PID=` if it names another process.
pub fn other_recipient() -> Option<String> {
    let pid = LISTEN_PID.text()?;
    (pid != std::process::id().to_string()).then_some(pid)
}

fn sort(passed: Vec<(OwnedFd, String)>) -> Inherited {
    let mut inherited = Inherited::default();
    for (fd, name) in passed {
        match name.as_str() {
            COUNTERS => inherited.counters.push(fd),
            CONNECTIONS => inherited.connections.push(fd),
            _ => {
                if let Err(reason) = inherited.add_listener(fd, &name) {
                    inherited.rejected.push(Rejected { name, reason });
                }
            }
        }
    }
    inherited
}

impl Inherited {
    fn add_listener(&mut self, fd: OwnedFd, name: &str) -> Result<(), String> {
        let only = match name {
            "http" => None,
            "control" => Some(&mut self.control),
            "admin" => Some(&mut self.admin),
            _ => return Err("unknown name; use FileDescriptorName=http, control or admin".into()),
        };
        let listener = Listener::adopt(fd).map_err(|error| error.to_string())?;
        match only {
            None => self.http.push(listener),
            Some(_) if matches!(listener.address(), Address::Tcp(_)) => {
                return Err(
                    "not a Unix socket; only the mode of a socket file controls who may connect".into()
                );
            }
            Some(Some(first)) => return Err(format!("only one is used, and {first} is the first")),
            Some(slot) => *slot = Some(listener),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(folder: &tempfile::TempDir, name: &str) -> OwnedFd {
        std::os::unix::net::UnixListener::bind(folder.path().join(name)).unwrap().into()
    }

    fn tcp() -> OwnedFd {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    #[test]
    fn inherited_sockets_are_taken_once() {
        assert!(take_inherited().is_ok());
        assert!(take_inherited().unwrap_err().to_string().contains("already"));
    }

    #[test]
    fn inherited_sockets_are_grouped_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let inherited = sort(vec![
            (unix(&folder, "a"), "control".into()),
            (tcp(), "http".into()),
            (unix(&folder, "b"), "http".into()),
            (unix(&folder, "c"), "admin".into()),
        ]);
        assert_eq!(inherited.http.len(), 2);
        assert!(inherited.control.is_some() && inherited.admin.is_some());
        assert_eq!(inherited.rejected, []);
    }

    #[test]
    fn unusable_socket_is_rejected_with_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let inherited = sort(vec![
            (unix(&folder, "a"), "contorl".into()),
            (file.into(), "http".into()),
            (tcp(), "control".into()),
            (unix(&folder, "b"), "admin".into()),
            (unix(&folder, "c"), "admin".into()),
        ]);
        let reasons: Vec<_> =
            inherited.rejected.iter().map(|r| (r.name.as_str(), r.reason.as_str())).collect();
        for (rejected, (name, part)) in reasons.iter().zip([
            ("contorl", "http, control or admin"),
            ("http", "no socket"),
            ("control", "not a Unix socket"),
            ("admin", "is the first"),
        ]) {
            assert_eq!(rejected.0, name);
            assert!(rejected.1.contains(part), "{rejected:?}");
        }
        assert_eq!(reasons.len(), 4);
        assert!(inherited.http.is_empty() && inherited.control.is_none() && inherited.admin.is_some());
    }
}
