//! What several checks use: the facts that most need, and lines of shell that fix something.

use crate::doctor::{
    daemon_facts::{DaemonError, DaemonFacts},
    finding::{Finding, USE_SUDO},
    host_facts::{Probe, Unavailable},
    probe::{Facts, units},
};

/// What a check has found, or why it could not look.
pub type CheckResult = Probe<Vec<Finding>>;
/// The daemon's answer, for a check that means nothing without it.
pub fn daemon_of(facts: &Facts) -> Probe<&DaemonFacts> {
    facts.daemon.as_ref().map_err(|error| match error {
        DaemonError::NotRunning(_) | DaemonError::Failed(_) => Unavailable("pixeld is not running".into()),
        DaemonError::NoPermission(reason) => Unavailable(format!("{reason}: {USE_SUDO}")),
        DaemonError::Unusable(reason) => Unavailable(format!("pixeld does not answer: {reason}")),
    })
}

/// Whether the daemon that answers is the one that systemd runs.
pub fn is_service(facts: &Facts, daemon: &DaemonFacts) -> bool {
    facts.main_pid == Some(daemon.pid)
}

/// What has the daemon read its configuration again.
pub fn reload(facts: &Facts, daemon: &DaemonFacts) -> &'static str {
    if is_service(facts, daemon) { "sudo systemctl reload pixeld" } else { "pixeldctl reload" }
}

/// Where the daemon answers, or would: what it says, and what its active socket units say.
pub fn listeners(facts: &Facts) -> Vec<String> {
    let reported = facts.daemon.iter().flat_map(|daemon| daemon.listeners.clone());
    let units = facts.units.iter().flat_map(units::Units::http_sockets).filter(|unit| unit.is_active());
    let from_units = units.flat_map(units::Unit::listens_on).map(|address| match address.strip_prefix('/') {
        Some(_) => format!("unix:{address}"),
        None => address.to_owned(),
    });
    let mut listeners: Vec<_> = reported.chain(from_units).collect();
    listeners.sort();
    listeners.dedup();
    listeners
}

/// A line of shell that closes a socket and opens it again, and meanwhile restarts the service.
pub fn reopen(unit: &str) -> String {
    format!("sudo systemctl restart {unit}")
}

/// Lines of shell that add a drop-in to a unit, which counts after all others. Nothing is restarted.
pub fn drop_in(unit: &str, section: &str, setting: &str) -> [String; 3] {
    let folder = format!("/etc/systemd/system/{unit}.d");
    // A file for each key, so that one remedy does not undo another.
    let key = setting.split('=').next().unwrap_or_default();
    [
        format!("sudo mkdir -p {folder}"),
        format!("printf '[{section}]\\n{setting}\\n' | sudo tee {folder}/zz-{key}.conf"),
        "sudo systemctl daemon-reload".into(),
    ]
}

impl Finding {
    pub fn fix_all(self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        lines.into_iter().fold(self, Self::fix)
    }
}

/// The findings, or else that all is well.
pub fn or_ok(findings: Vec<Finding>, fine: impl FnOnce() -> Finding) -> Vec<Finding> {
    if findings.is_empty() { vec![fine()] } else { findings }
}
