use std::{
    io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    time::Duration,
};

use pixeld_control::{
    ConfigReply, ControlClient,
    environment::{PIXELDCTL_SOCKET, Variable, XDG_RUNTIME_DIR},
};
use tokio::net::UnixStream;

use super::{args::Purpose, error::CommandError, service_state};

/// Connects to the named socket, or to the first of the running daemon's. Does not start a service that has failed.
pub async fn connect(
    named: Option<PathBuf>,
    purpose: Purpose,
    limit: Duration,
) -> Result<UnixStream, CommandError> {
    let from_environment = |variable: Variable| variable.get().map(PathBuf::from);
    let candidates = if let Some(path) = named.or_else(|| from_environment(PIXELDCTL_SOCKET)) {
        vec![path_of(path)]
    } else {
        // A relative path is ignored (XDG Base Directory Specification).
        let folder = from_environment(XDG_RUNTIME_DIR).filter(|folder| folder.is_absolute());
        candidates(purpose, folder)
    };
    let (mut forbidden, mut failed) = (None, None);
    for path in &candidates {
        if let Some(service) = service_state::failed(path, limit).await {
            if service.is_activatable {
                return Err(CommandError::ServiceFailed(service));
            }
            failed = Some(service);
        }
        let connecting = tokio::time::timeout(limit, UnixStream::connect(path));
        match connecting.await.map_err(|_| CommandError::ConnectTimedOut(path.clone(), limit))? {
            Ok(stream) => return Ok(stream),
            Err(error) => match error.kind() {
                io::ErrorKind::PermissionDenied => forbidden = forbidden.or_else(|| Some(path.clone())),
                io::ErrorKind::ConnectionRefused if !is_socket(path) => {
                    return Err(CommandError::NotASocket(path.clone()));
                }
                io::ErrorKind::WouldBlock => return Err(CommandError::QueueFull(path.clone())),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {}
                _ => return Err(CommandError::Connect(path.clone(), error)),
            },
        }
    }
    Err(match (forbidden, failed) {
        (Some(path), _) => CommandError::NoPermission(path),
        (None, Some(service)) => CommandError::ServiceFailed(service),
        (None, None) => elsewhere(&candidates, limit).await.unwrap_or(CommandError::NoDaemon(candidates)),
    })
}

/// Looks for a daemon at the `control.sock` beside these sockets, and asks it for its admin socket.
async fn elsewhere(tried: &[PathBuf], limit: Duration) -> Option<CommandError> {
    let beside = tried.iter().map(|path| path.with_file_name("control.sock"));
    for control in beside.filter(|path| !tried.contains(path)) {
        if service_state::failed(&control, limit).await.is_some_and(|service| service.is_activatable) {
            continue;
        }
        if let Ok(mut client) = ControlClient::connect(&control, limit).await {
            let setting = client.config().await.ok().and_then(|config| admin_of(&config));
            if setting.as_deref() == Some("") {
                return Some(CommandError::ReadOnly(control));
            }
            let admin = setting.as_deref().and_then(|admin| admin.strip_prefix("unix:")).map(PathBuf::from);
            return Some(CommandError::OtherSocket { tried: tried.to_vec(), control, admin });
        }
    }
    None
}

/// The address of the socket for changing; empty if there is none.
fn admin_of(config: &ConfigReply) -> Option<String> {
    let setting = config.settings.iter().find(|setting| setting.key == "listen.admin")?;
    Some(setting.value.trim_matches('"').into())
}

/// Removes the prefix `unix:`, which addresses have in the configuration.
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
    fn system_daemon_comes_before_user_daemon() {
        let paths = |purpose| -> Vec<_> {
            candidates(purpose, Some("/x".into())).iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(paths(Purpose::Change), ["/run/pixeld/admin.sock", "/x/pixeld/admin.sock"]);
        assert_eq!(paths(Purpose::Read)[..2], ["/run/pixeld/control.sock", "/run/pixeld/admin.sock"]);
        assert_eq!(candidates(Purpose::Change, None).len(), 1);
    }
}
