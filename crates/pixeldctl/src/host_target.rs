use std::{fmt, path::PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostTarget {
    Local {
        /// The named socket.
        socket: Option<PathBuf>,
    },
    /// Another host, as the argument of ssh.
    Ssh(String),
}

impl fmt::Display for HostTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local { .. } => THIS_HOST,
            // Without the user: the daemon is the same.
            Self::Ssh(host) => host.rsplit_once('@').map_or(host, |(_, host)| host),
        })
    }
}

/// The name that systemd's tools use.
const THIS_HOST: &str = ".host";

impl HostTarget {
    /// Returns the targets of the command line, each once; without any, this host.
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
}
