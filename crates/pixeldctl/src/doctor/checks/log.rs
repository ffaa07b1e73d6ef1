use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::common::{CheckResult, daemon_of, drop_in, is_service, reload};
use crate::doctor::{
    facts::Facts,
    finding::{Finding, USE_SUDO},
    host::{Printed, Probe, Unavailable},
    units,
};

/// The period that is searched if the daemon does not run.
const RECENTLY: Duration = Duration::from_secs(3600);

/// Whether journald has suppressed log lines of the daemon.
pub async fn journal(facts: &Facts) -> CheckResult {
    if let Ok(daemon) = &facts.daemon
        && !is_service(facts, daemon)
    {
        return Err(Unavailable("this pixeld is not the system's pixeld.service".into()));
    }
    let uptime = facts
        .daemon
        .as_ref()
        .map_or(RECENTLY, |daemon| Duration::from_millis(daemon.stats.process.uptime_ms));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // With fractions of a second: a restart may have fixed what was logged just before.
    let since = format!("--since=@{:.6}", now.saturating_sub(uptime).as_secs_f64());
    // SD_MESSAGE_JOURNAL_DROPPED: journald writes it when it accepts lines of the unit again.
    let dropped = "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e";
    let fields = "--output-fields=MESSAGE,N_DROPPED";
    let arguments = ["--no-pager", "--boot", &since, "--output=json", fields, dropped];
    let lines = suppressed(&facts.host.run("journalctl", &arguments).await?)?;
    Ok(vec![evaluate(facts, lines)])
}

fn evaluate(facts: &Facts, lines: u64) -> Finding {
    if lines == 0 {
        let have_all_reached_it =
            facts.daemon.as_ref().is_ok_and(|daemon| daemon.stats.log_lines_dropped == 0);
        return Finding::ok(if have_all_reached_it {
            "journald has accepted every log line of pixeld"
        } else {
            "journald has suppressed no log line of pixeld"
        });
    }
    let since = if facts.daemon.is_ok() { "since it started" } else { "in the last hour" };
    Finding::warning(format!("journald has suppressed {lines} lines of pixeld's log"))
        .evidence(format!("journalctl: \"Suppressed … messages from pixeld.service\" {since}"))
        .fix("# log less, with log.level = \"info\" in pixeld.toml; or let journald accept all lines:")
        .fix_all(drop_in(units::SERVICE, "Service", "LogRateLimitIntervalSec=0"))
        .fix("sudo systemctl restart pixeld")
}

/// Counts the suppressed lines of pixeld.
fn suppressed(printed: &Printed) -> Probe<u64> {
    // journalctl succeeds even if it may read only a part of the journal.
    if ["not seeing messages from other users", "insufficient permissions"]
        .iter()
        .any(|part| printed.stderr.contains(part))
    {
        let how = "`sudo usermod -aG systemd-journal $USER`";
        return Err(Unavailable(format!("no permission to read the system journal: {USE_SUDO}, or {how}")));
    }
    if printed.stderr.contains("No journal files were found") {
        return Err(Unavailable("there is no journal on this host".into()));
    }
    if !printed.succeeded() {
        return Err(printed.failure("journalctl"));
    }
    Ok(printed.stdout.lines().filter_map(parse_entry).sum())
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "MESSAGE")]
    message: String,
    #[serde(rename = "N_DROPPED")]
    dropped: String,
}

fn parse_entry(line: &str) -> Option<u64> {
    let entry: Entry = serde_json::from_str(line).ok()?;
    // The unit's name, or in older versions the path of its control group.
    entry.message.ends_with("pixeld.service").then(|| entry.dropped.parse().ok()).flatten()
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
    use crate::doctor::{
        checks::fixtures::{healthy, only},
        finding::FindingState,
    };

    #[test]
    fn only_suppressed_lines_of_pixeld_count() {
        let printed = |stdout: &str, stderr: &str, exit| {
            suppressed(&Printed { exit: Some(exit), stdout: stdout.into(), stderr: stderr.into() })
        };
        let entries = r#"{"MESSAGE":"Suppressed 39 messages from pixeld.service","N_DROPPED":"39"}
{"MESSAGE":"Suppressed 5 messages from noisy.service","N_DROPPED":"5"}
{"MESSAGE":"Suppressed 2 messages from /system.slice/pixeld.service","N_DROPPED":"2"}
"#;
        assert_eq!(printed(entries, "", 0), Ok(41));
        assert_eq!(printed("", "-- No entries --\n", 0), Ok(0));
        for (stderr, exit, reason) in [
            (
                "Hint: You are currently not seeing messages from other users and the system.\n",
                0,
                "systemd-journal",
            ),
            ("No journal files were opened due to insufficient permissions.\n", 0, "systemd-journal"),
            ("No journal files were found.\n-- No entries --\n", 0, "no journal"),
            ("Bad option\n", 1, "Bad option"),
        ] {
            assert!(printed("", stderr, exit).unwrap_err().0.contains(reason), "{stderr}");
        }
    }

    #[test]
    fn suppressed_and_dropped_lines_are_reported() {
        let mut facts = healthy();
        only(daemon_lines(&facts), FindingState::Ok);
        assert!(evaluate(&facts, 0).summary.contains("every log line"));
        assert!(only(Ok(vec![evaluate(&facts, 39)]), FindingState::Warning).summary.contains("39 lines"));
        facts.daemon.as_mut().unwrap().stats.log_lines_dropped = 5;
        assert!(only(daemon_lines(&facts), FindingState::Warning).summary.contains("5 lines"));
        assert!(!evaluate(&facts, 0).summary.contains("every log line"), "some have not reached it");
    }
}
