//! The checks: each turns facts into findings, and reads nothing itself.

mod access;
mod common;
mod config;
mod cpu;
mod daemon;
mod disk;
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

use self::common::CheckResult;
use super::{
    finding::{Finding, Report},
    host_facts::Unavailable,
    probe::Facts,
};

type CheckFn = fn(&Facts) -> CheckResult;

/// All checks, in the order of the report.
const CHECKS: [(&str, CheckFn); 19] = [
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
    ("disk", disk::disk),
    ("clock", time::clock),
];

/// Makes all checks.
pub fn run(facts: &Facts) -> Report {
    let findings = CHECKS.iter().flat_map(|(name, check)| {
        let findings = check(facts).unwrap_or_else(|Unavailable(reason)| vec![Finding::skipped(reason)]);
        findings.into_iter().map(|finding| Finding { check: (*name).into(), ..finding })
    });
    Report::new(findings.collect())
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
