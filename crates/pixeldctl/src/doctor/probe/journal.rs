use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::doctor::{
    finding::USE_SUDO,
    host_facts::{Host, Printed, Probe, Unavailable},
};

/// The period that is searched if the daemon does not run.
const RECENTLY: Duration = Duration::from_secs(3600);

/// Counts the lines of pixeld that journald has suppressed since the daemon started.
pub async fn suppressed(host: &Host, uptime: Option<Duration>) -> Probe<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // With fractions of a second: a restart may have fixed what was logged just before.
    let since = now.saturating_sub(uptime.unwrap_or(RECENTLY)).as_secs_f64();
    let since = format!("--since=@{since:.6}");
    // SD_MESSAGE_JOURNAL_DROPPED: journald writes it when it accepts lines of the unit again.
    let dropped = "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e";
    let fields = "--output-fields=MESSAGE,N_DROPPED";
    let arguments = ["--no-pager", "--boot", &since, "--output=json", fields, dropped];
    understand(&host.run("journalctl", &arguments).await?)
}

fn understand(printed: &Printed) -> Probe<u64> {
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
        let said = printed.stderr.lines().next().unwrap_or("no reason given");
        return Err(Unavailable(format!("journalctl fails: {said}")));
    }
    Ok(printed.stdout.lines().filter_map(parse).sum())
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "MESSAGE")]
    message: String,
    #[serde(rename = "N_DROPPED")]
    dropped: String,
}

fn parse(line: &str) -> Option<u64> {
    let entry: Entry = serde_json::from_str(line).ok()?;
    // The unit's name, or in older versions the path of its control group.
    entry.message.ends_with("pixeld.service").then(|| entry.dropped.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(stdout: &str, stderr: &str, succeeded: bool) -> Printed {
        Printed { exit: Some(i32::from(!succeeded)), stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn only_suppressed_lines_of_pixeld_count() {
        let entries = r#"{"MESSAGE":"Suppressed 39 messages from pixeld.service","N_DROPPED":"39"}
{"MESSAGE":"Suppressed 5 messages from noisy.service","N_DROPPED":"5"}
{"MESSAGE":"Suppressed 2 messages from /system.slice/pixeld.service","N_DROPPED":"2"}
"#;
        assert_eq!(understand(&printed(entries, "", true)), Ok(41));
        assert_eq!(understand(&printed("", "-- No entries --\n", true)), Ok(0));
    }

    #[test]
    fn unreadable_journal_is_not_a_quiet_one() {
        let hint = "Hint: You are currently not seeing messages from other users and the system.\n";
        for stderr in [hint, "No journal files were opened due to insufficient permissions.\n"] {
            let unavailable = understand(&printed("", stderr, true)).unwrap_err();
            assert!(unavailable.0.contains("systemd-journal"), "{unavailable:?}");
        }
        let none = printed("", "No journal files were found.\n-- No entries --\n", true);
        assert!(understand(&none).unwrap_err().0.contains("no journal"));
        assert!(understand(&printed("", "Bad option\n", false)).unwrap_err().0.contains("Bad option"));
    }
}
