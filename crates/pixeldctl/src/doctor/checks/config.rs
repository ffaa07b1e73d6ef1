use std::path::Path;

use pixeld_control::{CallError, ControlError, exit::Exit};

use super::common::{CheckResult, reload};
use crate::{
    args::Purpose,
    doctor::{
        facts::{Facts, call},
        finding::{Finding, USE_SUDO},
        host::{Host, Probe, Unavailable},
    },
    error::CommandError,
};

/// Whether the daemon would start with the configuration files as they are now.
pub async fn config(facts: &Facts) -> CheckResult {
    let faults = match &facts.daemon {
        Ok(_) => ask_daemon(facts).await?,
        Err(_) => run_checker(&facts.host).await?,
    };
    Ok(vec![report(facts, &faults)])
}

fn report(facts: &Facts, faults: &[String]) -> Finding {
    if faults.is_empty() {
        return Finding::ok("pixeld accepts the configuration files");
    }
    let finding = Finding::problem("pixeld rejects the configuration files: its next start fails")
        .evidence(faults.join("\n"))
        .fix("# correct each line above; the user of pixeld must be able to read each file");
    let (check, apply) = match &facts.daemon {
        Ok(daemon) => ("sudo pixeldctl reload --dry-run".into(), reload(facts, daemon)),
        Err(_) => (format!("sudo {}", checker()), "sudo systemctl start pixeld"),
    };
    finding.fix(check).fix(apply)
}

/// Asks the daemon for the faults of the files as they are now. It reads them as its own user and in its sandbox,
/// and changes nothing.
async fn ask_daemon(facts: &Facts) -> Probe<Vec<String>> {
    let dry_run = call(facts.socket.clone(), Purpose::Change, facts.host.limit, async |client| {
        client.reload(true).await
    });
    match dry_run.await {
        Ok(_) => Ok(Vec::new()),
        Err(CommandError::Call(CallError::Refused(ControlError::InvalidConfiguration { faults }))) => {
            Ok(faults)
        }
        Err(error @ CommandError::NoPermission(_)) => Err(Unavailable(format!("{error}: {USE_SUDO}"))),
        Err(error) => Err(Unavailable(error.to_string())),
    }
}

/// Returns the faults that a stopped daemon would find at its start.
async fn run_checker(host: &Host) -> Probe<Vec<String>> {
    let checker = checker();
    let printed = host.run(checker, &[]).await?;
    let mut lines = printed.stderr.lines().map(Into::into);
    match printed.exit {
        Some(0) => Ok(Vec::new()),
        code if code == Some(Exit::Config as i32) => Ok(lines.collect()),
        code if code == Some(Exit::NoPerm as i32) => {
            Err(Unavailable(format!("only root can check files as the user of pixeld: {USE_SUDO}")))
        }
        _ => Err(Unavailable(lines.next().unwrap_or_else(|| format!("{checker} fails")))),
    }
}

/// Returns the program that checks the files as the user of the unit: a package's, or that of `make install`.
fn checker() -> &'static str {
    const CHECKERS: [&str; 2] =
        ["/usr/libexec/pixeld/check-config", "/usr/local/libexec/pixeld/check-config"];

    CHECKERS.into_iter().find(|path| Path::new(path).exists()).unwrap_or(CHECKERS[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{checks::fixtures::healthy, facts::DaemonError};

    #[test]
    fn rejected_configuration_has_the_fix_for_its_daemon() {
        let mut facts = healthy();
        let fault = "/etc/pixeld/pixeld.toml.d/50.toml: cannot be read by user pixeld (uid 998)".to_owned();
        let faults = [fault.clone()];
        let finding = report(&facts, &faults);
        assert_eq!(finding.evidence, fault);
        assert_eq!(finding.fix.last().unwrap(), "sudo systemctl reload pixeld");
        facts.daemon = Err(DaemonError::NotRunning("no".into()));
        assert_eq!(report(&facts, &faults).fix[2], "sudo systemctl start pixeld");
    }
}
