//! The state of pixeld.service. systemd starts a stopped service when a client connects to one of its sockets, so
//! each query would start a failed service again, until systemd closes the sockets.

use std::{fmt, path::Path, process::Stdio, time::Duration};

use pixeld_control::exit::Exit;
use tokio::{process::Command, time::timeout};

/// The directory of the units' sockets.
const FOLDER: &str = "/run/pixeld";

/// A service that has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedService {
    /// `Result=`
    result: String,
    /// The fault in its configuration, if that is why it has failed.
    pub config_error: Option<String>,
    /// Whether systemd listens on the socket and would start the service.
    pub is_activatable: bool,
}

impl fmt::Display for FailedService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.config_error {
            Some(error) => write!(f, "pixeld.service cannot start: {error}"),
            None => write!(f, "pixeld.service has failed (Result={})", self.result),
        }
    }
}

/// Returns the state of the service of this socket if it has failed; `None` also if systemctl fails.
pub async fn failed(socket: &Path, limit: Duration) -> Option<FailedService> {
    // The path may lead there by a link, such as /var/run.
    let socket = socket.canonicalize().unwrap_or_else(|_| socket.into());
    // As sd_booted(3); false in a sandbox, such as that of ExecReload=.
    if !socket.starts_with(FOLDER) || !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let unit = format!("pixeld-{}.socket", socket.file_stem()?.to_str()?);
    let mut systemctl = Command::new("systemctl");
    systemctl.args(["show", "--no-pager", "-p", "ActiveState,Result,ExecMainStatus,StatusText"]);
    systemctl
        .args(["pixeld.service", &unit])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let shown = timeout(limit, systemctl.output()).await.ok()?.ok()?;
    understand(&String::from_utf8_lossy(&shown.stdout))
}

/// Parses two blocks of `Name=value`: of the service, and of the socket.
fn understand(shown: &str) -> Option<FailedService> {
    let (service, socket) = shown.split_once("\n\n")?;
    let value = |block: &str, name: &str| {
        block.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    };
    let has_failed = value(service, "ActiveState")? == "failed";
    let rejected_config = value(service, "ExecMainStatus")? == (Exit::Config as i32).to_string();
    let status_text = value(service, "StatusText").filter(|text| !text.is_empty());
    has_failed.then(|| FailedService {
        result: value(service, "Result").unwrap_or_default(),
        config_error: status_text.filter(|_| rejected_config),
        is_activatable: value(socket, "ActiveState").as_deref() == Some("active"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(service: &str, status: &str, socket: &str) -> Option<FailedService> {
        understand(&format!(
            "ExecMainStatus={status}\nResult=exit-code\nStatusText=a:1: b\nActiveState={service}\n\n\
             Result=success\nActiveState={socket}\n"
        ))
    }

    #[test]
    fn only_a_failed_service_has_a_reason() {
        for state in ["active", "activating", "inactive", "deactivating"] {
            assert_eq!(shown(state, "0", "active"), None, "{state}");
        }
        assert_eq!(understand(""), None);
        let failed = shown("failed", "1", "failed").unwrap();
        assert_eq!(failed.to_string(), "pixeld.service has failed (Result=exit-code)");
        assert!(!failed.is_activatable);
        assert_eq!(
            shown("failed", "78", "active").unwrap().to_string(),
            "pixeld.service cannot start: a:1: b"
        );
    }
}
