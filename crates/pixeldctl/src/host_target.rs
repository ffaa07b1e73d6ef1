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
