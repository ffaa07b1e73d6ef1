use super::common::{CheckResult, daemon_of, drop_in, is_service};
use crate::doctor::{facts::Facts, finding::Finding, host::Unavailable, units};

/// Whether the limit of open files suffices for the connection limit.
pub fn file_limit(facts: &Facts) -> CheckResult {
    let daemon = daemon_of(facts)?;
    let path = format!("/proc/{}/limits", daemon.stats.process.pid);
    let limits = parse_limits(&facts.host.read(&path)?);
    let no_line = || Unavailable(format!("{path} has no line on open files"));
    let (soft, hard) = limits.ok_or_else(no_line)?;
    let connections = daemon.stats.connections.limit;
    if daemon.stats.connections.effective_limit >= connections {
        let summary = format!("{soft} open files are enough for {connections} connections");
        return Ok(vec![Finding::ok(summary)]);
    }
    let summary = format!("{soft} open files are too few for {connections} connections");
    // The daemon needs the same number for other purposes as now.
    let needed = connections + soft.saturating_sub(daemon.stats.connections.effective_limit);
    let evidence = format!(
        "{path}: Max open files {soft} (hard {hard}); limits.connections = {connections}, which takes {needed} \
         descriptors"
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

/// Returns the soft and the hard limit of open files.
fn parse_limits(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let number = |word: &str| if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() };
    let mut words = line.split_whitespace();
    Some((number(words.next()?)?, number(words.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{healthy, only, with_files},
        finding::FindingState,
    };

    #[test]
    fn files_that_are_too_few_for_all_connections_are_a_problem() {
        let mut facts = healthy();
        // 200 files are not for connections.
        let mut check = |files: u64, connections: u64, state| {
            let limits =
                format!("Max processes    96262    96262    processes\nMax open files   {files} unlimited\n");
            let _folder = with_files(&mut facts, &[("proc/124/limits", &limits)]);
            let stats = &mut facts.daemon.as_mut().unwrap().stats;
            stats.connections.limit = connections;
            stats.connections.effective_limit = connections.min(files - 200);
            only(file_limit(&facts), state)
        };
        check(10_200, 10_000, FindingState::Ok);
        let finding = check(10_000, 10_000, FindingState::Problem);
        assert!(finding.evidence.contains("10200 descriptors"), "{finding:?}");
        assert!(finding.fix[1].contains("LimitNOFILE=65536"), "{finding:?}");
        let finding = check(65_536, 100_000, FindingState::Problem);
        assert!(finding.fix[1].contains("LimitNOFILE=100200"), "more than the unit's: {finding:?}");
        facts.main_pid = Some(9);
        let _folder = with_files(&mut facts, &[("proc/124/limits", "Max open files 65536 65536\n")]);
        assert_eq!(only(file_limit(&facts), FindingState::Problem).fix[0], "ulimit -n 100200");
        let _folder = with_files(&mut facts, &[("proc/124/limits", "nothing")]);
        assert!(file_limit(&facts).is_err());
    }
}
