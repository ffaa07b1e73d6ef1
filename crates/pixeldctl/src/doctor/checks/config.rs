use super::common::{CheckResult, reload};
use crate::doctor::{
    finding::Finding,
    probe::{Facts, config_files::checker},
};

/// Whether the daemon would start with the configuration files as they are now.
pub fn config(facts: &Facts) -> CheckResult {
    let faults = facts.configuration_faults.as_ref()?;
    if faults.is_empty() {
        return Ok(vec![Finding::ok("pixeld accepts the configuration files")]);
    }
    let finding = Finding::problem("pixeld rejects the configuration files: its next start fails")
        .evidence(faults.join("\n"))
        .fix("# correct each line above; the user of pixeld must be able to read each file");
    let (check, apply) = match &facts.daemon {
        Ok(daemon) => ("sudo pixeldctl reload --dry-run".into(), reload(facts, daemon)),
        Err(_) => (format!("sudo {}", checker()), "sudo systemctl start pixeld"),
    };
    Ok(vec![finding.fix(check).fix(apply)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{FindingState, healthy, only},
        daemon_facts::DaemonError,
    };

    #[test]
    fn rejected_configuration_is_a_problem() {
        let mut facts = healthy();
        only(config(&facts), FindingState::Ok);
        let fault = "/etc/pixeld/pixeld.toml.d/50.toml: cannot be read by user pixeld (uid 998)";
        facts.configuration_faults = Ok(vec![fault.into()]);
        let finding = only(config(&facts), FindingState::Problem);
        assert_eq!(finding.evidence, fault);
        assert_eq!(finding.fix.last().unwrap(), "sudo systemctl reload pixeld");
        facts.daemon = Err(DaemonError::NotRunning("no".into()));
        assert_eq!(only(config(&facts), FindingState::Problem).fix[2], "sudo systemctl start pixeld");
    }
}
