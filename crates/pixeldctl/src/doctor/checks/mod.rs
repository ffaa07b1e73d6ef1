//! Judgements: from facts to findings, without looking at anything else.

mod access;
mod config;
mod cpu;
mod daemon;
mod exposure;
mod files;
#[cfg(test)]
mod fixtures;
mod log;
mod metrics;
mod ports;
mod queues;
mod sockets;
mod time;
mod upstreams;

use super::{
    daemon_facts::{DaemonError, DaemonFacts},
    finding::{Finding, Report, USE_SUDO},
    host_facts::{Probe, Unavailable},
    probe::{Facts, units},
};

/// What a check has found, or why it could not look.
type CheckResult = Probe<Vec<Finding>>;
type CheckFn = fn(&Facts) -> CheckResult;

/// Every check, in the order in which they are shown.
const CHECKS: [(&str, CheckFn); 18] = [
    ("daemon", daemon::daemon),
    ("config", config::config),
    ("sockets", sockets::sockets),
    ("upstreams", upstreams::upstreams),
    ("access", access::access),
    ("failover", upstreams::failover),
    ("keepalive", upstreams::keepalive),
    ("exposure", exposure::exposure),
    ("file-limit", files::file_limit),
    ("workers", cpu::workers),
    ("backlog", queues::backlog),
    ("overflows", queues::overflows),
    ("time-wait", ports::time_wait),
    ("cpu-steal", cpu::steal),
    ("log-lines", log::daemon_lines),
    ("journal", log::journal),
    ("metrics", metrics::metrics),
    ("clock", time::clock),
];

/// Judges everything.
pub fn run(facts: &Facts) -> Report {
    let findings = CHECKS.iter().flat_map(|(name, check)| {
        let findings = check(facts).unwrap_or_else(|Unavailable(reason)| vec![Finding::skipped(reason)]);
        findings.into_iter().map(|finding| Finding { check: (*name).into(), ..finding })
    });
    Report::new(findings.collect())
}

/// The daemon's answer, for a check that means nothing without it.
fn daemon_of(facts: &Facts) -> Probe<&DaemonFacts> {
    facts.daemon.as_ref().map_err(|error| match error {
        DaemonError::NotRunning(_) | DaemonError::Stopped(_) => Unavailable("pixeld is not running".into()),
        DaemonError::NoPermission(reason) => Unavailable(format!("{reason}: {USE_SUDO}")),
        DaemonError::Unusable(reason) => Unavailable(format!("pixeld does not answer: {reason}")),
    })
}

/// Whether the daemon that answers is the one that systemd runs.
fn is_service(facts: &Facts, daemon: &DaemonFacts) -> bool {
    facts.main_pid == Some(daemon.pid)
}

/// What has the daemon read its configuration again.
fn reload(facts: &Facts, daemon: &DaemonFacts) -> &'static str {
    if is_service(facts, daemon) { "sudo systemctl reload pixeld" } else { "pixeldctl reload" }
}

/// Where the daemon answers, or would: what it says, and what its active socket units say.
fn listeners(facts: &Facts) -> Vec<String> {
    let told = facts.daemon.iter().flat_map(|daemon| daemon.listeners.clone());
    let units = facts.units.iter().flat_map(units::Units::http_sockets).filter(|unit| unit.is_active());
    let from_units = units.flat_map(units::Unit::listens_on).map(|address| match address.strip_prefix('/') {
        Some(_) => format!("unix:{address}"),
        None => address.to_owned(),
    });
    let mut listeners: Vec<_> = told.chain(from_units).collect();
    listeners.sort();
    listeners.dedup();
    listeners
}

/// A line of shell that closes a socket and opens it again, and meanwhile restarts the service.
fn reopen(unit: &str) -> String {
    format!("sudo systemctl restart {unit}")
}

/// Lines of shell that add a drop-in to a unit, which counts after all others. Nothing is restarted.
fn drop_in(unit: &str, section: &str, setting: &str) -> [String; 3] {
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
    fn fix_all(self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        lines.into_iter().fold(self, Self::fix)
    }
}

/// The findings, or else that all is well.
fn or_ok(findings: Vec<Finding>, fine: impl FnOnce() -> Finding) -> Vec<Finding> {
    if findings.is_empty() { vec![fine()] } else { findings }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::FindingState;

    #[test]
    fn healthy_host_has_no_problem() {
        let report = run(&fixtures::healthy());
        assert!(report.ok);
        for finding in &report.findings {
            assert_eq!((finding.state, finding.fix.len()), (FindingState::Ok, 0), "{finding:#?}");
        }
        assert_eq!(report.findings.len(), CHECKS.len());
    }

    #[test]
    fn failed_probe_is_never_ok() {
        let report = run(&fixtures::invisible());
        assert_eq!(report.findings.len(), CHECKS.len());
        for finding in &report.findings {
            assert_ne!(finding.state, FindingState::Ok, "{finding:#?}");
            assert!(!finding.summary.is_empty());
        }
    }
}
