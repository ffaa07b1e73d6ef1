//! What systemd says of pixeld.service. systemd holds the sockets of a service that does not run, and starts it
//! when a client connects: a service that cannot start would be started again with each question, until systemd
//! closes the sockets.

use std::{fmt, path::Path, process::Stdio, time::Duration};

use pixeld_control::exit::Exit;
use tokio::{process::Command, time::timeout};

/// Where the socket units listen.
const FOLDER: &str = "/run/pixeld";

/// A service that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedService {
    /// Whether it has failed; otherwise it was stopped, or has not been started yet.
    pub has_failed: bool,
    /// `Result=`
    result: String,
    /// Why it rejects its configuration, if that is why it has failed.
    pub config_error: Option<String>,
    /// Whether systemd holds the socket that was asked for, and would start the service.
    pub is_activatable: bool,
}

impl fmt::Display for StoppedService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.config_error {
            Some(error) => write!(f, "pixeld.service cannot start: {error}"),
            None if self.has_failed => write!(f, "pixeld.service has failed (Result={})", self.result),
            None => f.write_str("pixeld.service is not running"),
        }
    }
}

/// Returns the state of the service to which systemd gives the socket at this path, if it does not run. `None`
/// also if systemd does not say, or the socket is not its own.
pub async fn stopped(socket: &Path, limit: Duration) -> Option<StoppedService> {
    // As sd_booted(3); it is so in no sandbox, such as that of ExecReload=.
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

/// Two blocks of `Name=value`: of the service, and of the socket.
fn understand(shown: &str) -> Option<StoppedService> {
    let (service, socket) = shown.split_once("\n\n")?;
    let value = |block: &str, name: &str| {
        block.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    };
    let state = value(service, "ActiveState")?;
    let has_failed = state == "failed";
    let rejected_config = value(service, "ExecMainStatus")? == (Exit::Config as i32).to_string();
    let status_text = value(service, "StatusText").filter(|text| !text.is_empty());
    (has_failed || state == "inactive").then(|| StoppedService {
        has_failed,
        result: value(service, "Result").unwrap_or_default(),
        config_error: status_text.filter(|_| has_failed && rejected_config),
        is_activatable: value(socket, "ActiveState").as_deref() == Some("active"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(service: &str, status: &str, socket: &str) -> Option<StoppedService> {
        understand(&format!(
            "ExecMainStatus={status}\nResult=exit-code\nStatusText=a:1: b\nActiveState={service}\n\n\
             Result=success\nActiveState={socket}\n"
        ))
    }

    #[test]
    fn stopped_service_is_told_from_one_that_runs() {
        for state in ["active", "activating", "reloading", "deactivating"] {
            assert_eq!(shown(state, "0", "active"), None, "{state}");
        }
        assert_eq!(understand(""), None);
        let stopped = shown("inactive", "78", "active").unwrap();
        assert_eq!(
            (stopped.to_string().as_str(), stopped.is_activatable),
            ("pixeld.service is not running", true)
        );
        let failed = shown("failed", "1", "failed").unwrap();
        assert_eq!(failed.to_string(), "pixeld.service has failed (Result=exit-code)");
        assert!(!failed.is_activatable);
        assert_eq!(
            shown("failed", "78", "active").unwrap().to_string(),
            "pixeld.service cannot start: a:1: b"
        );
    }
}
