use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep;

use super::common::{CheckResult, INTERVAL};
use crate::doctor::{
    facts::Facts,
    finding::Finding,
    host::{Host, Probe, Unavailable},
};

/// A clock that is slewed moves by 0.5 ms in a second; one that jumps further was set.
const JUMP: Duration = Duration::from_millis(250);

/// Whether the clock is synchronized, and was not set during the check.
pub async fn clock(facts: &Facts) -> CheckResult {
    let (begun, before) = (Instant::now(), SystemTime::now());
    let state = timedated_state(&facts.host).await;
    sleep(INTERVAL).await;
    evaluate(jump(before + begun.elapsed(), SystemTime::now()), state)
}

/// Returns how far the clock was set forward or back.
fn jump(expected: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(expected).unwrap_or_else(|error| error.duration())
}

/// Returns the properties of timedated.
async fn timedated_state(host: &Host) -> Probe<String> {
    if let Ok(container) = host.read("/run/systemd/container") {
        let container = container.trim();
        return Err(Unavailable(format!("the host of this {container} container sets the clock")));
    }
    host.ask("timedatectl", &["show", "-p", "NTPSynchronized", "-p", "CanNTP"]).await
}

fn evaluate(jump: Duration, state: Probe<String>) -> CheckResult {
    if jump > JUMP {
        let finding = Finding::problem("the clock was set during the check")
            .evidence(format!("it moved by {} ms within a second", jump.as_millis()))
            .fix("# find what sets it: at most one of these should run")
            .fix("systemctl status systemd-timesyncd chronyd ntpd");
        return Ok(vec![finding]);
    }
    let state = state?;
    let value = |name: &str| state.lines().find_map(|line| line.strip_prefix(name));
    let unknown = || Unavailable("timedatectl does not report whether the clock is synchronized".into());
    if value("NTPSynchronized=").ok_or_else(unknown)? == "yes" {
        return Ok(vec![Finding::ok("the clock is synchronized")]);
    }
    let finding =
        Finding::warning("the clock is not synchronized: log times differ from those of other hosts")
            .evidence("timedatectl: NTPSynchronized=no");
    let install = "sudo apt install systemd-timesyncd || sudo dnf install chrony";
    let finding = if value("CanNTP=") == Some("yes") { finding } else { finding.fix(install) };
    Ok(vec![finding.fix("sudo timedatectl set-ntp true")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{checks::fixtures::only, finding::FindingState};

    #[test]
    fn unsynchronized_or_set_clock_is_reported() {
        let check = |jump, shown: &str| evaluate(jump, Ok(shown.into()));
        only(check(Duration::ZERO, "NTPSynchronized=yes\nCanNTP=yes\n"), FindingState::Ok);
        let finding = only(check(Duration::ZERO, "NTPSynchronized=no\nCanNTP=yes\n"), FindingState::Warning);
        assert_eq!(finding.fix, ["sudo timedatectl set-ntp true"]);
        let finding = only(check(Duration::ZERO, "NTPSynchronized=no\nCanNTP=no\n"), FindingState::Warning);
        assert!(finding.fix[0].contains("install"));
        assert!(check(Duration::ZERO, "Timezone=Etc/UTC\n").is_err());
        let hour = Duration::from_secs(3600);
        assert!(evaluate(Duration::ZERO, Err(Unavailable("no timedatectl".into()))).is_err());
        let finding = only(evaluate(hour, Err(Unavailable("no timedatectl".into()))), FindingState::Problem);
        assert!(finding.evidence.contains("3600000 ms"));
    }

    #[test]
    fn jump_has_no_direction() {
        let now = SystemTime::now();
        let second = Duration::from_secs(1);
        assert_eq!(
            [jump(now, now), jump(now + second, now), jump(now, now + second)],
            [Duration::ZERO, second, second]
        );
    }
}
