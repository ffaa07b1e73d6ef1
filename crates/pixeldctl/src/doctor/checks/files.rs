use super::common::{CheckResult, daemon_of, drop_in, is_service};
use crate::doctor::{
    finding::Finding,
    probe::{Facts, units},
};

/// Whether the limit of open files suffices for the connection limit.
pub fn file_limit(facts: &Facts) -> CheckResult {
    let daemon = daemon_of(facts)?;
    let limit = facts.files.as_ref()?;
    let connections = daemon.stats.connections.limit;
    if daemon.stats.connections.effective_limit >= connections {
        let summary = format!("{} open files are enough for {connections} connections", limit.soft);
        return Ok(vec![Finding::ok(summary)]);
    }
    let summary = format!("{} open files are too few for {connections} connections", limit.soft);
    // The daemon needs the same number for other purposes as now.
    let needed = connections + limit.soft.saturating_sub(daemon.stats.connections.effective_limit);
    let evidence = format!(
        "/proc/{}/limits: Max open files {} (hard {}); limits.connections = {connections}, which takes \
         {needed} descriptors",
        daemon.stats.process.pid, limit.soft, limit.hard
    );
    let finding = Finding::problem(summary).evidence(evidence);
    // At least the limit of the installed unit.
    let enough = needed.max(65_536);
    Ok(vec![if is_service(facts, daemon) {
        let setting = format!("LimitNOFILE={enough}");
        finding.fix_all(drop_in(units::SERVICE, "Service", &setting)).fix("sudo systemctl restart pixeld")
    } else {
        finding.fix(format!("ulimit -n {enough}")).fix("# then start pixeld again from this shell")
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{FindingState, healthy, only},
        probe::process::FileLimit,
    };

    /// Sets a limit of open files, of which 200 are not for connections.
    fn limit_files(facts: &mut Facts, limit: u64) {
        facts.files = Ok(FileLimit { soft: limit, hard: limit });
        let daemon = facts.daemon.as_mut().unwrap();
        daemon.stats.connections.effective_limit = daemon.stats.connections.limit.min(limit - 200);
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
        facts.daemon.as_mut().unwrap().stats.connections.limit = 100_000;
        limit_files(&mut facts, 65_536);
        assert!(only(file_limit(&facts), FindingState::Problem).fix[1].contains("LimitNOFILE=100200"));
    }

    #[test]
    fn foreground_daemon_gets_ulimit_advice() {
        let mut facts = healthy();
        facts.daemon.as_mut().unwrap().stats.process.pid = 9;
        limit_files(&mut facts, 1024);
        assert_eq!(only(file_limit(&facts), FindingState::Problem).fix[0], "ulimit -n 65536");
    }
}
