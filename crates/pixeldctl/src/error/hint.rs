use std::{cmp::Ordering, io::ErrorKind, path::Path};

use nix::unistd::{Gid, Group, Uid, User};
use pixeld_control::{CallError, ControlError, VERSION, exit::Exit};

use super::{CommandError, NO_SUCH_PROGRAM, NOT_UNDERSTOOD};
use crate::{host_target::HostTarget, version};

/// What ssh exits with when it could not connect.
const SSH_FAILED: i32 = 255;
/// What `pixeldctl bridge` exits with.
const NO_DAEMON: i32 = Exit::Unavailable as i32;
const NO_PERMISSION: i32 = Exit::NoPerm as i32;

/// Opens the socket for changing where systemd does that, and restarts the service with it.
const OPEN_ADMIN: &str = "systemctl enable pixeld-admin.socket && systemctl restart pixeld-admin.socket";
const RELOAD_BY_SIGNAL: &str = "systemctl kill -s HUP pixeld";
const DAEMON_STALLED: &str = "the daemon is stalled or very busy: see `systemctl status pixeld`";
const OTHER_PROGRAM: &str = "name the socket of a pixeld with --socket";
const DIFFERENT_VERSIONS: &str =
    "pixeldctl and pixeld may be of different versions: restart pixeld after an upgrade";

impl CommandError {
    /// What to do about it, where something can be said.
    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoDaemon(_) => {
                "start it with `systemctl start pixeld`, or name its socket with --socket".into()
            }
            Self::ServiceFailed(service) if service.config_error.is_some() => {
                "correct it, see with `sudo pixeldctl doctor` that nothing is left, then \
                 `sudo systemctl start pixeld`"
                    .into()
            }
            Self::ServiceFailed(_) => {
                "`journalctl -u pixeld -n 20` says why; then `sudo systemctl start pixeld`".into()
            }
            Self::InFlight(..) => "wait on with `pixeldctl drain --wait`: their time-outs end them".into(),
            Self::OtherSocket { tried, admin: Some(admin), .. } if tried.contains(admin) => {
                "that file was removed: restart pixeld, or, where systemd holds the socket, \
                 `systemctl restart pixeld-admin.socket`"
                    .into()
            }
            Self::ReadOnly(_) => format!("`{OPEN_ADMIN}`; without it, `{RELOAD_BY_SIGNAL}` reloads"),
            Self::OtherSocket { admin, control, .. } => {
                format!("use --socket {}", admin.as_ref().unwrap_or(control).display())
            }
            Self::NoPermission(path) if !path.starts_with("/run/pixeld") => no_permission_elsewhere(path),
            Self::NoPermission(path) => {
                let group = if path.ends_with("admin.sock") { "pixeld-admin" } else { "pixeld" };
                format!("use sudo, or `sudo usermod -aG {group} $USER` and log in again")
            }
            Self::ConnectTimedOut(..) | Self::Call(CallError::TimedOut(_)) => DAEMON_STALLED.into(),
            // More wait to be let in than may.
            Self::Connect(_, error) if error.kind() == ErrorKind::WouldBlock => DAEMON_STALLED.into(),
            Self::Call(CallError::ChangeTimedOut(_)) => {
                "it may be done all the same: look at `pixeldctl status`; and if that does not answer \
                 either, at `systemctl status pixeld`"
                    .into()
            }
            Self::Inactive(unit) => format!("start it with `systemctl start {unit}`"),
            Self::Write(_, error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => "its folder has to exist".into(),
                ErrorKind::PermissionDenied => {
                    "this user has to be allowed to write to its folder, and to the file if there is one"
                        .into()
                }
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "make room there; a file that was there before is as it was".into()
                }
                _ => return None,
            },
            Self::Systemctl { .. } => "leave --if-active out where systemd does not run pixeld".into(),
            Self::NoSsh(..) => "install the package openssh-client".into(),
            Self::AtHost(target, error) => error.hint_at(target)?,
            Self::NoScreen(_) => "use `pixeldctl stats --watch 1`, which prints line after line".into(),
            Self::TopAsJson => "use `pixeldctl stats --watch 1 --json`".into(),
            Self::Call(CallError::Refused(error)) => match error {
                ControlError::NotPermitted { socket: None, .. } => format!("`{OPEN_ADMIN}`"),
                ControlError::NotPermitted { socket: Some(socket), .. } => {
                    format!("leave --socket out, or use --socket {socket}")
                }
                ControlError::InvalidConfiguration { .. } => {
                    "nothing was changed; fix the files, try `pixeld --check`, then reload again".into()
                }
                ControlError::Busy { .. } => "wait until that is done, and try again".into(),
                ControlError::TooManyClients { .. } => "end other clients, such as `pixeldctl top`".into(),
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
                "it may have restarted: try again; or is this not the socket of a pixeld?".into()
            }
            Self::Call(CallError::Protocol(_)) => {
                format!("{DIFFERENT_VERSIONS}; or is this not the socket of a pixeld?")
            }
            _ => return None,
        })
    }

    /// As [`Self::hint`], if this happened at `target`.
    pub fn hint_at(&self, target: &HostTarget) -> Option<String> {
        match target {
            HostTarget::Ssh(host) => self.hint_for(host).or_else(|| self.hint()),
            HostTarget::Local { .. } => self.hint(),
        }
    }

    /// What helps where this happened on another host.
    fn hint_for(&self, host: &str) -> Option<String> {
        if host.starts_with('-') {
            // To anybody who tried it by hand, it would be an option of ssh.
            return None;
        }
        Some(match self {
            Self::Remote { code: Some(SSH_FAILED), .. } => format!("try `ssh {host} true`"),
            Self::Remote { code: Some(NO_SUCH_PROGRAM), .. } => {
                format!("install pixeld on {host}, with pixeldctl in the PATH that ssh has there")
            }
            Self::Remote { code: Some(NOT_UNDERSTOOD), .. } => {
                format!("install the same version of pixeld on {host} and here")
            }
            Self::Remote { code: Some(NO_DAEMON), message } if message.contains("is not running") => {
                format!("start it there: `ssh {host} sudo systemctl start pixeld`")
            }
            Self::Remote { code: Some(NO_PERMISSION), message } => {
                let group = if message.contains("admin.sock") { "pixeld-admin" } else { "pixeld" };
                format!("log in as root there, or as a member of the group {group}")
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
                format!("try `ssh {host} true`, and there `systemctl status pixeld`")
            }
            Self::Call(CallError::ChangeTimedOut(_)) => format!(
                "it may be done all the same: look at `pixeldctl status -H {host}`; and if that does not \
                 answer either, try `ssh {host} true`, and there `systemctl status pixeld`"
            ),
            Self::Call(CallError::Protocol(_)) => {
                format!(
                    "pixeldctl here and pixeld on {host} may be of different versions: restart pixeld after \
                     an upgrade; or else `ssh {host} true` must print nothing: look into the shell's \
                     start-up files there"
                )
            }
            _ => return None,
        })
    }
}

/// What helps with a socket that no unit has opened: it belongs to the user and the group that pixeld runs
/// as, and its folder may be closed to others.
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
        return format!("use sudo, or be user {owner} or in group {}", name(group, metadata.gid()));
    }
    format!("use sudo, or be user {owner}, to whom {} belongs; is XDG_RUNTIME_DIR yours?", part.display())
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
        assert!(
            hint(&socket).contains(&format!("be user {me}, to whom {} belongs", folder.path().display()))
        );
        fs::write(&socket, "").unwrap();
        fs::set_permissions(&socket, PermissionsExt::from_mode(0o660)).unwrap();
        let group = Group::from_gid(Gid::effective()).unwrap().unwrap().name;
        assert!(hint(&socket).ends_with(&format!("be user {me} or in group {group}")));
        assert!(hint(Path::new("/run/pixeld/admin.sock")).contains("pixeld-admin"));
    }
}
