//! Commands that several fixes share, and facts that several checks need.

use std::time::Duration;

use crate::doctor::{
    facts::{DaemonError, DaemonFacts, Facts},
    finding::{Finding, USE_SUDO},
    host::{Probe, Unavailable},
    units,
};

/// The time between two samples of a counter.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// The findings of a check, or why it cannot be made.
pub type CheckResult = Probe<Vec<Finding>>;
/// Returns the daemon's reply, for a check that needs it.
pub fn daemon_of(facts: &Facts) -> Probe<&DaemonFacts> {
    facts.daemon.as_ref().map_err(|error| match error {
        DaemonError::NotRunning(_) | DaemonError::Failed(_) => Unavailable("pixeld is not running".into()),
        DaemonError::NoPermission(reason) => Unavailable(format!("{reason}: {USE_SUDO}")),
        DaemonError::Unusable(reason) => Unavailable(format!("pixeld does not respond: {reason}")),
    })
}

/// Whether the daemon that responds is the process of pixeld.service.
pub fn is_service(facts: &Facts, daemon: &DaemonFacts) -> bool {
    facts.main_pid == Some(daemon.stats.process.pid)
}

/// The command that reloads the configuration.
pub fn reload(facts: &Facts, daemon: &DaemonFacts) -> &'static str {
    if is_service(facts, daemon) { "sudo systemctl reload pixeld" } else { "pixeldctl reload" }
}

/// The addresses of the daemon: those that it reports, and those of its active socket units.
pub fn listeners(facts: &Facts) -> Vec<String> {
    let reported = facts.daemon.iter().flat_map(|daemon| daemon.stats.listeners.clone());
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

/// The command that closes a socket and opens it again, which restarts the service.
pub fn reopen(unit: &str) -> String {
    format!("sudo systemctl restart {unit}")
}

/// The commands that add a drop-in to a unit, with a name that sorts last. They restart nothing.
pub fn drop_in(unit: &str, section: &str, setting: &str) -> [String; 3] {
    let folder = format!("/etc/systemd/system/{unit}.d");
    // A file for each key, so that one fix does not undo another.
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

/// Returns the findings, or `fine` if there are none.
pub fn or_ok(findings: Vec<Finding>, fine: impl FnOnce() -> Finding) -> Vec<Finding> {
    if findings.is_empty() { vec![fine()] } else { findings }
}
