use std::time::Duration;

use super::common::CheckResult;
use crate::doctor::{finding::Finding, probe::Facts};

/// A clock that is slewed moves by 0.5 ms in a second; one that jumps further was set.
const JUMP: Duration = Duration::from_millis(250);

/// Whether the clock is synchronized, and was not set during the check.
pub fn clock(facts: &Facts) -> CheckResult {
    let [before, after] = &facts.samples;
    let jump = after.instant.jump_since(before.instant);
    if jump > JUMP {
        let finding = Finding::problem("the clock was set during the check")
            .evidence(format!("it moved by {} ms within a second", jump.as_millis()))
            .fix("# find what sets it: at most one of these should run")
            .fix("systemctl status systemd-timesyncd chronyd ntpd");
        return Ok(vec![finding]);
    }
    let clock = facts.clock.as_ref()?;
    if clock.synchronized {
        return Ok(vec![Finding::ok("the clock is synchronized")]);
    }
    let finding =
        Finding::warning("the clock is not synchronized: log times differ from those of other hosts")
            .evidence("timedatectl: NTPSynchronized=no");
    let install = "sudo apt install systemd-timesyncd || sudo dnf install chrony";
    let finding = if clock.can_synchronize { finding } else { finding.fix(install) };
    Ok(vec![finding.fix("sudo timedatectl set-ntp true")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{FindingState, healthy, only},
        host_facts::Unavailable,
        probe::clock::Clock,
    };

    #[test]
    fn unsynchronized_clock_is_reported() {
        let mut facts = healthy();
        only(clock(&facts), FindingState::Ok);
        facts.clock = Ok(Clock { synchronized: false, can_synchronize: true });
        assert_eq!(only(clock(&facts), FindingState::Warning).fix, ["sudo timedatectl set-ntp true"]);
        facts.clock = Ok(Clock { synchronized: false, can_synchronize: false });
        assert!(only(clock(&facts), FindingState::Warning).fix[0].contains("install"));
    }

    #[test]
    fn clock_jump_is_seen_without_timedated() {
        let mut facts = healthy();
        facts.clock = Err(Unavailable("no timedatectl".into()));
        assert!(clock(&facts).is_err());
        facts.samples[1].instant.wall += Duration::from_secs(3600);
        assert!(only(clock(&facts), FindingState::Problem).evidence.contains("3600000 ms"));
    }
}
