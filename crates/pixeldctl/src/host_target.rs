use std::{env, fmt, path::PathBuf, time::Duration};

use nix::unistd::{Uid, User};
use pixeld_control::{CallError, Claim, environment::SUDO_USER};

use super::{
    args::Purpose, control_connection::ControlConnection, error::CommandError, socket_path, ssh::SshProcess,
};

/// Where a daemon runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostTarget {
    /// On this host.
    Local {
        /// Its socket, if it was named.
        socket: Option<PathBuf>,
    },
    /// On another host, as ssh knows it.
    Ssh(String),
}

impl fmt::Display for HostTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local { .. } => THIS_HOST,
            // Whoever logs in there is the same daemon's visitor.
            Self::Ssh(host) => host.rsplit_once('@').map_or(host, |(_, host)| host),
        })
    }
}

/// What systemd's tools call it too.
const THIS_HOST: &str = ".host";

impl HostTarget {
    /// The places that the command line names, each once; without any, this host.
    pub fn all(hosts: &[String], socket: Option<PathBuf>) -> Vec<Self> {
        let target = |host: &String| match host.as_str() {
            THIS_HOST => Self::Local { socket: None },
            host => Self::Ssh(host.into()),
        };
        let mut targets = Vec::new();
        for target in hosts.iter().map(target) {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        if targets.is_empty() { vec![Self::Local { socket }] } else { targets }
    }

    /// Names the version of the daemon there in the error of a call that one side has not understood. It is
    /// asked over a connection of its own, because the other one may be in the middle of a stream.
    pub async fn explain_incompatible(
        &self,
        purpose: Purpose,
        limit: Duration,
        error: CallError,
    ) -> CommandError {
        let info = async { Ok::<_, CommandError>(self.connect(purpose, limit).await?.info().await?) };
        match info.await {
            Ok(info) => CommandError::Incompatible(error, info),
            Err(_) => error.into(),
        }
    }

    /// Connects to the daemon there. Each call may then take up to `limit`.
    ///
    /// # Errors
    /// When it is not there, cannot be reached, or this user may not connect.
    pub async fn connect(
        &self,
        purpose: Purpose,
        limit: Duration,
    ) -> Result<ControlConnection, CommandError> {
        let (stream, ssh) = match self {
            Self::Local { socket } => (socket_path::connect(socket.clone(), purpose, limit).await?, None),
            Self::Ssh(host) => {
                let (ssh, stream) = SshProcess::start(host, bridge(purpose))?;
                (stream, Some(ssh))
            }
        };
        let connection = ControlConnection::new(stream, ssh, self.clone(), purpose, limit)?;
        Ok(if purpose == Purpose::Change { connection.with_claim(claim()) } else { connection })
    }
}

/// Who runs this pixeldctl, and how: with -H, the daemon sees the user who has logged in there.
fn claim() -> Claim {
    let name = |uid| User::from_uid(uid).ok().flatten().map(|user| user.name);
    let words: Vec<_> = env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    // Of root, the name is known; of interest is who became root.
    let sudo_user = Uid::current().is_root().then(|| SUDO_USER.text()).flatten();
    Claim { user: sudo_user.or_else(|| name(Uid::current())), command: Some(words.join(" ")) }
}

fn bridge(purpose: Purpose) -> &'static [&'static str] {
    match purpose {
        Purpose::Read => &["pixeldctl", "bridge", "read"],
        Purpose::Change => &["pixeldctl", "bridge", "change"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_host_names() {
        let names = |hosts: &[&str]| -> Vec<_> {
            let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
            HostTarget::all(&hosts, None).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(&["c5", "admin@t2", ".host"]), ["c5", "t2", ".host"]);
        assert_eq!(names(&[]), [".host"]);
    }

    #[test]
    fn host_named_twice_is_asked_once() {
        let hosts: Vec<_> = ["t2", ".host", "t2", "root@t2", ".host"].map(String::from).into();
        assert_eq!(HostTarget::all(&hosts, None).len(), 3);
    }
}
