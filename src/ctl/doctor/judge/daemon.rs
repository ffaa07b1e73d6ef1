use super::Verdict;
use crate::ctl::doctor::{
    daemon::Silence,
    finding::Finding,
    host::Unseen,
    look::{Facts, units},
};

/// Whether pixeld runs and answers, with the unit that systemd has on disk.
pub fn daemon(facts: &Facts) -> Verdict {
    let service = facts.units.as_ref().ok().and_then(|units| units.get(units::SERVICE));
    let state = service.map_or_else(String::new, |unit| {
        format!(" ({}, Result={})", unit.shown("ActiveState"), unit.value("Result"))
    });
    let mut findings = vec![match &facts.daemon {
        Ok(daemon) => Finding::ok(format!("pixeld {} runs as process {}", daemon.version, daemon.pid)),
        Err(Silence::Absent(reason)) => Finding::problem("pixeld is not running")
            .evidence(format!("{reason}{state}"))
            .mend("sudo journalctl -u pixeld -n 20")
            .mend("sudo systemctl start pixeld"),
        Err(Silence::Faulty(reason)) => Finding::problem("pixeld runs and does not answer as it should")
            .evidence(format!("{reason}{state}"))
            .mend("sudo journalctl -u pixeld -n 20")
            .mend("sudo systemctl restart pixeld"),
        Err(Silence::Forbidden(reason)) => {
            return Err(Unseen(format!("{reason}: use sudo, or `sudo usermod -aG pixeld $USER`")));
        }
    }];
    let is_stale = |unit: &&units::Unit| unit.value("NeedDaemonReload") == "yes";
    findings.extend(service.filter(is_stale).map(|unit| {
        Finding::warning("the unit was changed on disk, and systemd still has it as it was")
            .evidence(unit.shown("NeedDaemonReload"))
            .mend("sudo systemctl daemon-reload")
            .mend("sudo systemctl restart pixeld")
    }));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::doctor::{
        finding::State,
        judge::fixture::{change_units, healthy, only},
    };

    #[test]
    fn no_daemon_is_a_finding() {
        let mut facts = healthy();
        only(daemon(&facts), State::Ok);
        facts.daemon = Err(Silence::Absent("nobody listens at /run/x".into()));
        let finding = only(daemon(&facts), State::Problem);
        assert!(finding.evidence.contains("/run/x") && finding.evidence.contains("ActiveState=active"));
        facts.daemon = Err(Silence::Faulty("no answer within 10s".into()));
        only(daemon(&facts), State::Problem);
    }

    #[test]
    fn a_unit_that_is_newer_on_disk_is_told_of() {
        let mut facts = healthy();
        change_units(&mut facts, "ActiveState", "NeedDaemonReload=yes\nActiveState");
        let findings = daemon(&facts).unwrap();
        assert_eq!(findings[1].state, State::Warning);
        assert_eq!(findings[1].mend[0], "sudo systemctl daemon-reload");
    }
}
