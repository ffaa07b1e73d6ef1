use std::{
    env, io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::net::UnixStream;

use super::{args::Purpose, failure::Failure};

/// Connects to the socket that was named, or to that of the running daemon.
///
/// # Errors
/// When no daemon is there, or this user may not connect.
pub async fn connect(
    named: Option<PathBuf>,
    purpose: Purpose,
    limit: Duration,
) -> Result<UnixStream, Failure> {
    let from_environment = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let candidates = if let Some(path) = named.or_else(|| from_environment("PIXELDCTL_SOCKET")) {
        vec![path_of(path)]
    } else {
        // One that is relative is to be ignored (XDG Base Directory Specification).
        let folder = from_environment("XDG_RUNTIME_DIR").filter(|folder| folder.is_absolute());
        candidates(purpose, folder)
    };
    let mut forbidden = None;
    for path in &candidates {
        let connecting = tokio::time::timeout(limit, UnixStream::connect(path));
        match connecting.await.map_err(|_| Failure::ConnectTimedOut(path.clone(), limit))? {
            Ok(stream) => return Ok(stream),
            Err(error) => match error.kind() {
                io::ErrorKind::PermissionDenied => forbidden = forbidden.or_else(|| Some(path.clone())),
                io::ErrorKind::ConnectionRefused if !is_socket(path) => {
                    return Err(Failure::NotASocket(path.clone()));
                }
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {}
                _ => return Err(Failure::Connect(path.clone(), error)),
            },
        }
    }
    Err(forbidden.map_or(Failure::NoDaemon(candidates), Failure::NoPermission))
}

/// Without the `unix:` that the configuration writes before it.
fn path_of(named: PathBuf) -> PathBuf {
    named.to_str().and_then(|named| named.strip_prefix("unix:")).map(PathBuf::from).unwrap_or(named)
}

fn is_socket(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.file_type().is_socket())
}

fn candidates(purpose: Purpose, runtime_folder: Option<PathBuf>) -> Vec<PathBuf> {
    let names: &[_] = match purpose {
        Purpose::Read => &["control.sock", "admin.sock"],
        Purpose::Change => &["admin.sock"],
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
        let paths = |purpose| -> Vec<_> {
            candidates(purpose, Some("/x".into())).iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(paths(Purpose::Change), ["/run/pixeld/admin.sock", "/x/pixeld/admin.sock"]);
        assert_eq!(paths(Purpose::Read)[..2], ["/run/pixeld/control.sock", "/run/pixeld/admin.sock"]);
        assert_eq!(candidates(Purpose::Change, None).len(), 1);
    }
}
