use pixeld_control::ServiceState;

use super::common::{CheckResult, is_service};
use crate::{
    doctor::{
        facts::{DaemonError, DaemonFacts, Facts},
        finding::{Finding, USE_SUDO},
        host::Unavailable,
        units,
    },
    render,
    service_state::FailedService,
};

/// Whether pixeld responds and is not drained, and systemd has loaded the unit that is on disk.
pub fn daemon(facts: &Facts) -> CheckResult {
    let service = facts.units.as_ref().ok().and_then(|units| units.get(units::SERVICE));
    let state = service.map_or_else(String::new, |unit| {
        format!(" ({}, Result={})", unit.shown("ActiveState"), unit.value("Result"))
    });
    let mut findings = vec![match &facts.daemon {
        Ok(daemon) => Finding::ok(format!(
            "pixeld {} runs as process {}",
            daemon.stats.process.version, daemon.stats.process.pid
        )),
        Err(DaemonError::NotRunning(reason)) => Finding::problem("pixeld is not running")
            .evidence(format!("{reason}{state}"))
            .fix("sudo journalctl -u pixeld -n 20")
            .fix("sudo systemctl start pixeld"),
        Err(DaemonError::Failed(service)) => failed(service, &state),
        Err(DaemonError::Unusable(reason)) => {
            Finding::problem("pixeld runs but does not respond as it should")
                .evidence(format!("{reason}{state}"))
                .fix("sudo journalctl -u pixeld -n 20")
                .fix("sudo systemctl restart pixeld")
        }
        Err(DaemonError::NoPermission(reason)) => {
            return Err(Unavailable(format!("{reason}: {USE_SUDO}, or `sudo usermod -aG pixeld $USER`")));
        }
    }];
    findings.extend(
        facts
            .daemon
            .iter()
            .filter(|daemon| daemon.stats.state == ServiceState::Drained)
            .map(|daemon| drained(facts, daemon)),
    );
    let errors = facts.daemon.iter().flat_map(|daemon| &daemon.stats.accept_errors);
    findings.extend(errors.map(|error| {
        Finding::problem(format!("pixeld accepts no connections at {error}"))
            .evidence("pixeldctl stats: acceptErrors")
            .fix("# find what forbids accept4(2): SystemCallFilter= of the unit, or a security module")
            .fix("systemctl show -P SystemCallFilter pixeld.service")
            .fix("sudo journalctl -k -g 'audit|apparmor|avc' -n 20")
    }));
    let is_stale = |unit: &&units::Unit| unit.value("NeedDaemonReload") == "yes";
    findings.extend(service.filter(is_stale).map(|unit| {
        Finding::warning("systemd has not loaded the unit as it is on disk")
            .evidence(unit.shown("NeedDaemonReload"))
            .fix("sudo systemctl daemon-reload")
            .fix("sudo systemctl restart pixeld")
    }));
    Ok(findings)
}

fn failed(service: &FailedService, state: &str) -> Finding {
    if let Some(error) = &service.config_error {
        return Finding::problem("pixeld rejects its configuration and does not run")
            .evidence(format!("{error}{state}"))
            .fix("# correct each line that the check \"config\" names, then:")
            .fix("sudo systemctl start pixeld");
    }
    Finding::problem("pixeld has failed and does not run")
        .evidence(format!("{service}{state}"))
        .fix("sudo journalctl -u pixeld -n 20")
        .fix("sudo systemctl start pixeld")
}

fn drained(facts: &Facts, daemon: &DaemonFacts) -> Finding {
    let by = daemon
        .stats
        .drained_by
        .as_ref()
        .map_or_else(String::new, |by| format!(": drained {}", render::attribution(by)));
    Finding::warning("pixeld is drained and rejects each request with 503")
        .evidence(format!("pixeldctl status{by}"))
        .fix(if is_service(facts, daemon) { "sudo pixeldctl resume" } else { "pixeldctl resume" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pixeld_control::Attribution;

    use crate::doctor::{
        checks::fixtures::{change_units, healthy, only},
        finding::FindingState,
    };

    /// Returns what is wrong beside the daemon, which runs.
    fn second(facts: &Facts, state: FindingState) -> Finding {
        let mut findings = daemon(facts).unwrap();
        assert_eq!((findings.len(), findings[1].state), (2, state), "{findings:#?}");
        findings.remove(1)
    }

    #[test]
    fn missing_daemon_is_a_finding() {
        let mut facts = healthy();
        only(daemon(&facts), FindingState::Ok);
        facts.daemon = Err(DaemonError::NotRunning("no process listens at /run/x".into()));
        let finding = only(daemon(&facts), FindingState::Problem);
        assert!(finding.evidence.contains("/run/x") && finding.evidence.contains("ActiveState=active"));
        facts.daemon = Err(DaemonError::Unusable("no response within 10s".into()));
        only(daemon(&facts), FindingState::Problem);
    }

    #[test]
    fn drained_daemon_finding_has_caller_and_time() {
        let mut facts = healthy();
        facts.daemon.as_mut().unwrap().stats.state = ServiceState::Drained;
        assert_eq!(second(&facts, FindingState::Warning).evidence, "pixeldctl status");
        let act = Attribution { by: "root (pid 7)".into(), at_unix_ms: 1_800_000_000_000 };
        facts.daemon.as_mut().unwrap().stats.drained_by = Some(act);
        let Finding { evidence, fix, .. } = second(&facts, FindingState::Warning);
        assert!(evidence.contains("drained by root (pid 7) at ") && evidence.contains("2027"), "{evidence}");
        assert_eq!(fix, ["sudo pixeldctl resume"]);
    }

    #[test]
    fn accept_error_and_changed_unit_are_reported() {
        let mut facts = healthy();
        let error = "unix:/run/pixeld/http.sock: Permission denied (os error 13)";
        facts.daemon.as_mut().unwrap().stats.accept_errors = vec![error.into()];
        assert!(second(&facts, FindingState::Problem).summary.contains(error));
        let mut facts = healthy();
        change_units(&mut facts, "ActiveState", "NeedDaemonReload=yes\nActiveState");
        assert_eq!(second(&facts, FindingState::Warning).fix[0], "sudo systemctl daemon-reload");
    }
}
