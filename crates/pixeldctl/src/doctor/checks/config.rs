use super::{CheckResult, daemon_of, reload};
use crate::doctor::{finding::Finding, probe::Facts};

/// Whether the daemon would start with the configuration files as they are now.
pub fn config(facts: &Facts) -> CheckResult {
    let daemon = daemon_of(facts)?;
    let faults = facts.configuration_faults.as_ref().map_err(Clone::clone)?;
    if faults.is_empty() {
        return Ok(vec![Finding::ok("pixeld accepts the configuration files")]);
    }
    let finding = Finding::warning("pixeld rejects the configuration files: its next start fails")
        .evidence(faults.join("\n"))
        .fix("# correct each line that is named; the user of pixeld must be able to read each file")
        .fix("sudo pixeldctl reload --dry-run")
        .fix(reload(facts, daemon));
    Ok(vec![finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{healthy, only},
        finding::FindingState,
    };

    #[test]
    fn rejected_configuration_is_a_warning() {
        let mut facts = healthy();
        only(config(&facts), FindingState::Ok);
        let fault = "/etc/pixeld/pixeld.toml.d/50.toml: cannot be read by user pixeld (uid 998)";
        facts.configuration_faults = Ok(vec![fault.into()]);
        let finding = only(config(&facts), FindingState::Warning);
        assert_eq!(finding.evidence, fault);
        assert_eq!(finding.fix.last().unwrap(), "sudo systemctl reload pixeld");
    }
}
