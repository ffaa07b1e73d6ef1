use std::{cmp::Ordering, io::ErrorKind, path::Path};

use nix::unistd::{Gid, Group, Uid, User};
use pixeld_control::{CallError, ControlError, VERSION, exit::Exit};

use super::{CommandError, NO_SUCH_PROGRAM, NOT_UNDERSTOOD};
use crate::{host_target::HostTarget, version};

/// The exit status of ssh if it cannot connect.
const SSH_FAILED: i32 = 255;
/// Exit statuses of `pixeldctl bridge`.
const NO_DAEMON: i32 = Exit::Unavailable as i32;
const NO_PERMISSION: i32 = Exit::NoPerm as i32;

/// Opens the admin socket, and restarts the service with it.
const OPEN_ADMIN: &str =
    "`sudo systemctl enable pixeld-admin.socket && sudo systemctl restart pixeld-admin.socket`";
const DAEMON_STALLED: &str = "the daemon is stalled or busy: `systemctl status pixeld`";
const OTHER_PROGRAM: &str = "name the socket of a pixeld with --socket";
const DIFFERENT_VERSIONS: &str =
    "pixeldctl and pixeld may have different versions; after an upgrade, `sudo systemctl restart pixeld`";

impl CommandError {
    /// Returns a command that helps, or advice.
    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoDaemon(_) => {
                "`sudo systemctl start pixeld`; if it runs without systemd, name its socket with --socket".into()
            }
            Self::ServiceFailed(service) if service.config_error.is_some() => {
                "correct the file, then `sudo pixeldctl doctor` and `sudo systemctl start pixeld`".into()
            }
            Self::ServiceFailed(_) => {
                "`sudo journalctl -u pixeld -n 20` shows why; then `sudo systemctl start pixeld`".into()
            }
            Self::InFlight(..) => "`pixeldctl drain --wait=60s` waits longer; timeouts end each request".into(),
            Self::OtherSocket { tried, admin: Some(admin), .. } if tried.contains(admin) => {
                "the file of the socket was removed: `sudo systemctl restart pixeld-admin.socket`, or restart \
                 a pixeld that runs without systemd"
                    .into()
            }
            Self::ReadOnly(_) => format!("{OPEN_ADMIN}; to reload without it, `sudo systemctl kill -s HUP pixeld`"),
            Self::OtherSocket { admin, control, .. } => {
                format!("use --socket {}", admin.as_ref().unwrap_or(control).display())
            }
            Self::NoPermission(path) if !path.starts_with("/run/pixeld") => no_permission_elsewhere(path),
            Self::NoPermission(path) => {
                let group = if path.ends_with("admin.sock") { "pixeld-admin" } else { "pixeld" };
                format!("use sudo, or `sudo usermod -aG {group} $USER` and log in again")
            }
            Self::QueueFull(_) | Self::ConnectTimedOut(..) | Self::Call(CallError::TimedOut(_)) => {
                DAEMON_STALLED.into()
            }
            Self::Call(CallError::ChangeTimedOut(_)) => {
                "the change may be made nevertheless: `pixeldctl status`; if that times out as well, \
                 `systemctl status pixeld`"
                    .into()
            }
            Self::Inactive(unit) => format!("`sudo systemctl start {unit}`"),
            Self::Write(path, error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => {
                    format!("`mkdir -p {}`", path.parent()?.display())
                }
                ErrorKind::PermissionDenied => "use sudo, or a directory that this user may write to".into(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "free space there; an existing file is unchanged".into()
                }
                _ => return None,
            },
            Self::Systemctl { .. } => "omit --if-active if systemd does not run pixeld".into(),
            Self::NoSsh(..) => "`sudo apt install openssh-client || sudo dnf install openssh-clients`".into(),
            Self::AtHost(target, error) => error.hint_at(target)?,
            Self::NoScreen(_) => "`pixeldctl stats --watch 1` prints lines instead".into(),
            Self::TopAsJson => "`pixeldctl stats --watch 1 --json`".into(),
            Self::Call(CallError::Refused(error)) => match error {
                ControlError::NotPermitted { socket: None, .. } => OPEN_ADMIN.into(),
                ControlError::NotPermitted { socket: Some(socket), .. } => {
                    format!("omit --socket, or use --socket {socket}")
                }
                ControlError::InvalidConfiguration { .. } => {
                    "nothing was changed; correct the files, then `pixeldctl reload --dry-run`".into()
                }
                ControlError::Busy { .. } => "try again when the other change is done".into(),
                ControlError::TooManyClients { .. } => "close other clients, such as `pixeldctl top`".into(),
                _ => return None,
            },
            Self::Incompatible(_, daemon) if !daemon.is_pixeld() => OTHER_PROGRAM.into(),
            Self::Incompatible(_, daemon) => match version::compare(&daemon.version, VERSION) {
                Some(Ordering::Less) => {
                    format!("upgrade pixeld to {VERSION}, then `sudo systemctl restart pixeld`")
                }
                Some(Ordering::Greater) => format!("upgrade pixeldctl to {}", daemon.version),
                // The versions are not the reason.
                Some(Ordering::Equal) => return None,
                None => "install the same version of pixeld and pixeldctl".into(),
            },
            Self::Call(CallError::Unknown(_)) => DIFFERENT_VERSIONS.into(),
            Self::Call(CallError::Closed) => {
                "try again if pixeld is restarting; otherwise the socket may belong to another program".into()
            }
            Self::Call(CallError::Protocol(_)) => {
                format!("{DIFFERENT_VERSIONS}; or the socket belongs to another program")
            }
            _ => return None,
        })
    }

    /// Returns the hint for an error at `target`.
    pub fn hint_at(&self, target: &HostTarget) -> Option<String> {
        match target {
            HostTarget::Ssh(host) => self.hint_for(host).or_else(|| self.hint()),
            HostTarget::Local { .. } => self.hint(),
        }
    }

    fn hint_for(&self, host: &str) -> Option<String> {
        if host.starts_with('-') {
            // In a command that the operator pastes, it would be an option of ssh.
            return None;
        }
        Some(match self {
            Self::Remote { code: Some(SSH_FAILED), .. } => format!("try `ssh {host} true`"),
            Self::Remote { code: Some(NO_SUCH_PROGRAM), .. } => {
                format!("install pixeld on {host}; `ssh {host} command -v pixeldctl` must find it")
            }
            Self::Remote { code: Some(NOT_UNDERSTOOD), .. } => {
                format!("install the same version of pixeld on {host} and here")
            }
            Self::Remote { code: Some(NO_DAEMON), message } if message.contains("is not running") => {
                format!("`ssh {host} sudo systemctl start pixeld`")
            }
            Self::Remote { code: Some(NO_PERMISSION), message } => {
                let group = if message.contains("admin.sock") { "pixeld-admin" } else { "pixeld" };
                format!("log in there as root or as a member of the group {group}")
            }
            Self::Incompatible(_, daemon) if daemon.is_pixeld() => {
                match version::compare(&daemon.version, VERSION)? {
                    Ordering::Less => format!(
                        "upgrade pixeld on {host} to {VERSION}, then `ssh {host} sudo systemctl restart pixeld`"
                    ),
                    Ordering::Greater => format!("upgrade pixeldctl on this host to {}", daemon.version),
                    Ordering::Equal => return None,
                }
            }
            Self::Call(CallError::TimedOut(_)) => {
                format!("`ssh {host} systemctl status pixeld`")
            }
            Self::Call(CallError::ChangeTimedOut(_)) => format!(
                "the change may be made nevertheless: `pixeldctl status -H {host}`; if that times out as well, \
                 `ssh {host} systemctl status pixeld`"
            ),
            Self::Call(CallError::Protocol(_)) => {
                format!(
                    "pixeldctl here and pixeld on {host} may have different versions; or the shell's start-up \
                     files there print text: `ssh {host} true` must print nothing"
                )
            }
            _ => return None,
        })
    }
}

/// Returns the hint for a socket that no unit has opened: it belongs to the user and the group of pixeld, and its
/// directory may be closed to others.
fn no_permission_elsewhere(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;

    let known = path.ancestors().find_map(|part| Some((part, part.metadata().ok()?)));
    let Some((part, metadata)) = known.filter(|(part, _)| *part != Path::new("/")) else {
        return "use sudo".into();
    };
    let name = |name: Option<String>, id: u32| name.unwrap_or_else(|| id.to_string());
    let owner = User::from_uid(Uid::from_raw(metadata.uid())).ok().flatten().map(|user| user.name);
    let owner = name(owner, metadata.uid());
    if part == path && metadata.mode() & 0o020 != 0 {
        let group = Group::from_gid(Gid::from_raw(metadata.gid())).ok().flatten().map(|group| group.name);
        let group = name(group, metadata.gid());
        return format!("use sudo, or run it as user {owner} or as a member of the group {group}");
    }
    format!("`sudo -u {owner} pixeldctl …`: {} belongs to user {owner}", part.display())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn permission_hint_names_owner_and_group() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let hint = |path: &Path| CommandError::NoPermission(path.into()).hint().unwrap();
        let me = User::from_uid(Uid::effective()).unwrap().unwrap().name;
        assert!(hint(&socket).contains(&format!("{} belongs to user {me}", folder.path().display())));
        fs::write(&socket, "").unwrap();
        fs::set_permissions(&socket, PermissionsExt::from_mode(0o660)).unwrap();
        let group = Group::from_gid(Gid::effective()).unwrap().unwrap().name;
        assert!(hint(&socket).ends_with(&format!("as user {me} or as a member of the group {group}")));
        assert!(hint(Path::new("/run/pixeld/admin.sock")).contains("pixeld-admin"));
    }
}
