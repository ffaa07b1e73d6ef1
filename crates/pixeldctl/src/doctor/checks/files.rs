use super::common::{CheckResult, daemon_of, drop_in, is_service};
use crate::doctor::{
    finding::Finding,
    probe::{Facts, units},
};

/// Whether as many files may be open as there may be connections, and then some.
pub fn file_limit(facts: &Facts) -> CheckResult {
    let daemon = daemon_of(facts)?;
    let limit = facts.files.as_ref().map_err(Clone::clone)?;
    let connections = daemon.connection_limit;
    if daemon.effective_limit >= connections {
        let summary = format!("{} open files are allowed, {connections} connections too", limit.soft);
        return Ok(vec![Finding::ok(summary)]);
    }
    let summary = format!("{} open files are allowed, and {connections} connections", limit.soft);
    // Beside connections, as many as now.
    let needed = connections + limit.soft.saturating_sub(daemon.effective_limit);
    let evidence = format!(
        "/proc/{}/limits: Max open files {} (hard {}); limits.connections = {connections}, which takes \
         {needed} descriptors",
        daemon.pid, limit.soft, limit.hard
    );
    let finding = Finding::problem(summary).evidence(evidence);
    // As much as the installed unit asks for, unless that is not enough.
    let enough = needed.max(65_536);
    Ok(vec![if is_service(facts, daemon) {
        let setting = format!("LimitNOFILE={enough}");
        finding.fix_all(drop_in(units::SERVICE, "Service", &setting)).fix("sudo systemctl restart pixeld")
    } else {
        finding.fix(format!("ulimit -n {enough}")).fix("# and start pixeld again from this shell")
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{healthy, only},
        finding::FindingState,
        probe::process::FileLimit,
    };

    /// So many open files, of which 200 are not for connections.
    fn limit_files(facts: &mut Facts, limit: u64) {
        facts.files = Ok(FileLimit { soft: limit, hard: limit });
        let daemon = facts.daemon.as_mut().unwrap();
        daemon.effective_limit = daemon.connection_limit.min(limit - 200);
    }

    #[test]
    fn every_connection_and_worker_needs_descriptors() {
        let mut facts = healthy();
        only(file_limit(&facts), FindingState::Ok);
        limit_files(&mut facts, 10_000);
        let finding = only(file_limit(&facts), FindingState::Problem);
        assert!(finding.evidence.contains("10200 descriptors"), "{finding:?}");
        assert!(finding.fix[1].contains("LimitNOFILE=65536"), "{finding:?}");
        limit_files(&mut facts, 10_200);
        only(file_limit(&facts), FindingState::Ok);
    }

    #[test]
    fn suggested_limit_exceeds_the_units_if_needed() {
        let mut facts = healthy();
        facts.daemon.as_mut().unwrap().connection_limit = 100_000;
        limit_files(&mut facts, 65_536);
        assert!(only(file_limit(&facts), FindingState::Problem).fix[1].contains("LimitNOFILE=100200"));
    }

    #[test]
    fn foreground_daemon_gets_ulimit_advice() {
        let mut facts = healthy();
        facts.daemon.as_mut().unwrap().pid = 9;
        limit_files(&mut facts, 1024);
        assert_eq!(only(file_limit(&facts), FindingState::Problem).fix[0], "ulimit -n 65536");
    }
}
