use super::common::{CheckResult, daemon_of, drop_in, is_service, reload};
use crate::doctor::{
    finding::Finding,
    host_facts::Unavailable,
    probe::{Facts, units},
};

/// Whether journald has suppressed log lines of the daemon.
pub fn journal(facts: &Facts) -> CheckResult {
    if let Ok(daemon) = &facts.daemon
        && !is_service(facts, daemon)
    {
        return Err(Unavailable("this pixeld is not the system's pixeld.service".into()));
    }
    let lines = *facts.suppressed.as_ref()?;
    if lines == 0 {
        let have_all_reached_it =
            facts.daemon.as_ref().is_ok_and(|daemon| daemon.stats.log_lines_dropped == 0);
        return Ok(vec![Finding::ok(if have_all_reached_it {
            "journald has accepted every log line of pixeld"
        } else {
            "journald has suppressed no log line of pixeld"
        })]);
    }
    let since = if facts.daemon.is_ok() { "since it started" } else { "in the last hour" };
    let finding = Finding::warning(format!("journald has suppressed {lines} lines of pixeld's log"))
        .evidence(format!("journalctl: \"Suppressed … messages from pixeld.service\" {since}"))
        .fix("# log less, with log.level = \"info\" in pixeld.toml; or let journald accept all lines:")
        .fix_all(drop_in(units::SERVICE, "Service", "LogRateLimitIntervalSec=0"))
        .fix("sudo systemctl restart pixeld");
    Ok(vec![finding])
}

/// Whether the daemon has dropped log lines that it could not write.
pub fn daemon_lines(facts: &Facts) -> CheckResult {
    let daemon = daemon_of(facts)?;
    let dropped = daemon.stats.log_lines_dropped;
    if dropped == 0 {
        return Ok(vec![Finding::ok("pixeld has dropped no line of its log")]);
    }
    let finding = Finding::warning(format!("pixeld has dropped {dropped} lines of its log"))
        .evidence("pixeldctl stats; pixeldctl events shows why")
        .fix("# if the log was too slow, log less: log.level = \"info\" in pixeld.toml")
        .fix(reload(facts, daemon))
        .fix("# if the journal did not respond: sudo systemctl status systemd-journald");
    Ok(vec![finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks::fixtures::{FindingState, healthy, only};

    #[test]
    fn lines_suppressed_by_journald_are_reported() {
        let mut facts = healthy();
        only(journal(&facts), FindingState::Ok);
        facts.suppressed = Ok(39);
        assert!(only(journal(&facts), FindingState::Warning).summary.contains("39 lines"));
        facts.main_pid = None;
        assert!(journal(&facts).is_err(), "a foreground daemon logs elsewhere");
    }

    #[test]
    fn lines_dropped_by_the_daemon_are_reported() {
        let mut facts = healthy();
        only(daemon_lines(&facts), FindingState::Ok);
        facts.daemon.as_mut().unwrap().stats.log_lines_dropped = 5;
        assert!(only(daemon_lines(&facts), FindingState::Warning).summary.contains("5 lines"));
        let journal = only(journal(&facts), FindingState::Ok);
        assert!(!journal.summary.contains("every log line"), "some have not reached it: {journal:?}");
    }
}
