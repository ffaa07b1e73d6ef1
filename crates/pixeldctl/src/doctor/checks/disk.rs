use std::time::Duration;

use super::common::CheckResult;
use crate::{
    doctor::{
        finding::Finding,
        probe::{Facts, disk::ROTATION},
    },
    render::bytes,
};

/// The maximum size of the logs of the site.
const ENOUGH: u64 = 1 << 30;
/// Free bytes below which the disk counts as full.
const NEARLY_NOTHING: u64 = 64 << 20;
/// A larger log is not rotated: its limit is 32 MiB, and 10 s of full load add less than 200 MB.
const NOT_ROTATED: u64 = 256 << 20;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whether the disk has space for the logs, and the logs of nginx's site are rotated.
pub fn disk(facts: &Facts) -> CheckResult {
    let disk = facts.disk.as_ref()?;
    let [before, now] = &facts.samples;
    let total = |logs: &[(&str, u64)]| logs.iter().map(|(_, size)| size).sum::<u64>();
    let free = bytes(disk.free);

    if let Some((log, size)) = now.logs.iter().find(|(_, size)| *size > NOT_ROTATED) {
        let finding = Finding::problem(format!("{log} has {} and is not rotated", bytes(*size)));
        return Ok(vec![rotate(finding.evidence(rotation(disk.has_rotation)))]);
    }
    if disk.free < ENOUGH {
        let summary = format!("{free} free for logs, which may need {}", bytes(ENOUGH));
        let is_full = disk.free < NEARLY_NOTHING;
        let finding = if is_full { Finding::problem(summary) } else { Finding::warning(summary) };
        let finding = finding
            .evidence(format!("df: {free} available; logs of nginx's site: {}", bytes(total(&now.logs))));
        return Ok(vec![
            finding
                .fix("# delete files that are not needed; the largest: sudo du -xh / | sort -h | tail -n 30"),
        ]);
    }
    let elapsed = now.instant.steady - before.instant.steady;
    let grown = total(&now.logs).saturating_sub(total(&before.logs));
    // A rotation between both samples makes them smaller.
    let a_day = u128::from(grown) * DAY.as_millis() / elapsed.as_millis().max(1);
    if !disk.has_rotation && a_day > u128::from(disk.free) {
        let a_day = bytes(u64::try_from(a_day).unwrap_or(u64::MAX));
        let finding =
            Finding::warning(format!("the logs of nginx's site grow by {a_day} a day, with {free} free"));
        return Ok(vec![rotate(finding.evidence(rotation(false)))]);
    }
    Ok(vec![Finding::ok(format!("{free} free for logs"))])
}

fn rotation(is_active: bool) -> String {
    format!("systemctl is-active {ROTATION}: {}", if is_active { "active" } else { "inactive" })
}

fn rotate(finding: Finding) -> Finding {
    finding
        .fix(format!("sudo systemctl start {ROTATION}"))
        .fix("# if it is active already: sudo journalctl -u pixeld-logrotate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{FindingState, healthy, only},
        probe::disk::LogDisk,
    };

    #[test]
    fn nearly_full_disk_is_reported() {
        let mut facts = healthy();
        only(disk(&facts), FindingState::Ok);
        for (free, state) in [(900 << 20, FindingState::Warning), (10 << 20, FindingState::Problem)] {
            facts.disk = Ok(LogDisk { free, has_rotation: true });
            only(disk(&facts), state);
        }
    }

    #[test]
    fn large_log_is_not_rotated() {
        let mut facts = healthy();
        facts.samples[1].logs[0].1 = 300 << 20;
        assert!(only(disk(&facts), FindingState::Problem).summary.contains("300.0 MiB"));
    }

    #[test]
    fn growth_without_rotation_is_reported() {
        let mut facts = healthy();
        // 24 GB a day.
        facts.samples[1].logs[0].1 += 280_000;
        facts.disk = Ok(LogDisk { free: 8 << 30, has_rotation: true });
        only(disk(&facts), FindingState::Ok);
        facts.disk = Ok(LogDisk { free: 8 << 30, has_rotation: false });
        only(disk(&facts), FindingState::Warning);
        facts.disk = Ok(LogDisk { free: 80 << 30, has_rotation: false });
        only(disk(&facts), FindingState::Ok);
    }
}
