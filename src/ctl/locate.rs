use std::{env, io, path::PathBuf, time::Duration};

use super::failure::Failure;
use crate::control::{CallError, Client};

/// What a command wants to do, which decides over the socket that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// control.sock, or admin.sock where only that may be opened.
    Read,
    /// admin.sock.
    Change,
}

/// Connects to the socket that was named, or to that of the running daemon.
pub async fn connect(named: Option<PathBuf>, need: Need, limit: Duration) -> Result<Client, Failure> {
    let from_environment = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let candidates = match named.or_else(|| from_environment("PIXELDCTL_SOCKET")) {
        Some(path) => vec![path],
        None => candidates(need, from_environment("XDG_RUNTIME_DIR")),
    };
    let mut forbidden = None;
    for path in &candidates {
        match Client::connect(path, limit).await {
            Ok(client) => return Ok(client),
            Err(CallError::Connect(error)) => match error.kind() {
                io::ErrorKind::PermissionDenied => forbidden = forbidden.or_else(|| Some(path.clone())),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {}
                _ => return Err(Failure::Connect(path.clone(), error)),
            },
            Err(error) => return Err(error.into()),
        }
    }
    Err(forbidden.map_or(Failure::NoDaemon(candidates), Failure::NoPermission))
}

fn candidates(need: Need, runtime_folder: Option<PathBuf>) -> Vec<PathBuf> {
    let names: &[_] = match need {
        Need::Read => &["control.sock", "admin.sock"],
        Need::Change => &["admin.sock"],
    };
    let folders = [Some(PathBuf::from("/run")), runtime_folder];
    let folders = folders.into_iter().flatten();
    folders.flat_map(|folder| names.iter().map(move |name| folder.join("pixeld").join(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_daemon_comes_before_the_users() {
        let paths = |need| -> Vec<_> {
            candidates(need, Some("/x".into())).iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(paths(Need::Change), ["/run/pixeld/admin.sock", "/x/pixeld/admin.sock"]);
        assert_eq!(paths(Need::Read)[..2], ["/run/pixeld/control.sock", "/run/pixeld/admin.sock"]);
        assert_eq!(candidates(Need::Change, None).len(), 1);
    }
}
