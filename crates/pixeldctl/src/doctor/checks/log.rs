use super::common::{CheckResult, daemon_of, drop_in, is_service, reload};
use crate::doctor::{
    finding::Finding,
    host_facts::Unavailable,
    probe::{Facts, units},
};

/// Whether journald has thrown away lines of the daemon's.
pub fn journal(facts: &Facts) -> CheckResult {
    if let Ok(daemon) = &facts.daemon
        && !is_service(facts, daemon)
    {
        return Err(Unavailable(
            "this pixeld is no service of systemd's, whose log the journal would hold".into(),
        ));
    }
    let lines = facts.suppressed.as_ref().map_err(Clone::clone)?.lines;
    if lines == 0 {
        let have_all_reached_it = facts.daemon.as_ref().is_ok_and(|daemon| daemon.log_lines_dropped == 0);
        return Ok(vec![Finding::ok(if have_all_reached_it {
            "journald has taken every line of pixeld's"
        } else {
            "journald has suppressed no line of those that reached it"
        })]);
    }
    let since = if facts.daemon.is_ok() { "since it started" } else { "in the last hour" };
    let finding = Finding::warning(format!("journald has thrown away {lines} lines of pixeld's"))
        .evidence(format!("journalctl: \"Suppressed … messages from pixeld.service\" {since}"))
        .fix("# less is logged with log.level = \"info\" in pixeld.toml; or let journald take all:")
        .fix_all(drop_in(units::SERVICE, "Service", "LogRateLimitIntervalSec=0"))
        .fix("sudo systemctl restart pixeld");
    Ok(vec![finding])
}

/// Whether the daemon has thrown away lines because they could not be written.
pub fn daemon_lines(facts: &Facts) -> CheckResult {
    let daemon = daemon_of(facts)?;
    let dropped = daemon.log_lines_dropped;
    if dropped == 0 {
        return Ok(vec![Finding::ok("pixeld has dropped no line of its log")]);
    }
    let finding = Finding::warning(format!("pixeld has dropped {dropped} lines of its log"))
        .evidence("pixeldctl stats; pixeldctl events says why they were not written")
        .fix("# where they were not taken fast enough, log less: log.level = \"info\" in pixeld.toml")
        .fix(reload(facts, daemon))
        .fix("# where the journal could not be reached: sudo systemctl status systemd-journald");
    Ok(vec![finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{healthy, only},
        finding::FindingState,
        probe::journal::Suppressed,
    };

    #[test]
    fn lines_suppressed_by_journald_are_reported() {
        let mut facts = healthy();
        only(journal(&facts), FindingState::Ok);
        facts.suppressed = Ok(Suppressed { lines: 39 });
        assert!(only(journal(&facts), FindingState::Warning).summary.contains("39 lines"));
        facts.main_pid = None;
        assert!(journal(&facts).is_err(), "a daemon by hand logs elsewhere");
    }

    #[test]
    fn lines_dropped_by_the_daemon_are_reported() {
        let mut facts = healthy();
        only(daemon_lines(&facts), FindingState::Ok);
        facts.daemon.as_mut().unwrap().log_lines_dropped = 5;
        assert!(only(daemon_lines(&facts), FindingState::Warning).summary.contains("5 lines"));
        let journal = only(journal(&facts), FindingState::Ok);
        assert!(!journal.summary.contains("every line"), "some have not reached it: {journal:?}");
    }
}
