use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::common::{CheckResult, INTERVAL};
use crate::{
    doctor::{
        facts::Facts,
        finding::Finding,
        host::{Host, Probe, Unavailable},
    },
    render::bytes,
};

/// The journal and the logs of nginx's site, which may have a disk of their own.
const FOLDERS: [&str; 2] = ["/var/log", "/var/log/nginx/pixeld"];
const LOGS: [&str; 2] = ["/var/log/nginx/pixeld/access.log", "/var/log/nginx/pixeld/error.log"];
/// The timer that rotates them.
const ROTATION: &str = "pixeld-logrotate.timer";

/// The maximum size of the logs of the site.
const ENOUGH: u64 = 1 << 30;
/// Free bytes below which the disk counts as full.
const NEARLY_NOTHING: u64 = 64 << 20;
/// A larger log is not rotated: its limit is 32 MiB, and 10 s of full load add less than 200 MB.
const NOT_ROTATED: u64 = 256 << 20;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whether the disk has space for the logs, and the logs of nginx's site are rotated.
pub async fn disk(facts: &Facts) -> CheckResult {
    let host = &facts.host;
    let folders = FOLDERS.into_iter().filter(|folder| host.size(folder).is_some());
    let arguments: Vec<_> = ["--block-size=1", "--output=avail"].into_iter().chain(folders).collect();
    let free = parse_free(&host.ask("df", &arguments).await?)?;
    let has_rotation = host.run("systemctl", &["--quiet", "is-active", ROTATION]).await?.succeeded();
    let (begun, before) = (Instant::now(), log_sizes(host));
    sleep(INTERVAL).await;
    Ok(vec![evaluate(free, has_rotation, &before, &log_sizes(host), begun.elapsed())])
}

/// Returns the free bytes on the file system that has fewer.
fn parse_free(printed: &str) -> Probe<u64> {
    let free = printed.lines().skip(1).filter_map(|line| line.trim().parse().ok()).min();
    free.ok_or_else(|| Unavailable(format!("df prints {printed:?}")))
}

/// The sizes of the site's logs that exist.
fn log_sizes(host: &Host) -> Vec<(&'static str, u64)> {
    LOGS.into_iter().filter_map(|log| Some((log, host.size(log)?))).collect()
}

fn evaluate(
    free: u64,
    has_rotation: bool,
    before: &[(&str, u64)],
    now: &[(&str, u64)],
    elapsed: Duration,
) -> Finding {
    let total = |logs: &[(&str, u64)]| logs.iter().map(|(_, size)| size).sum::<u64>();
    if let Some((log, size)) = now.iter().find(|(_, size)| *size > NOT_ROTATED) {
        let finding = Finding::problem(format!("{log} has {} and is not rotated", bytes(*size)));
        return rotate(finding, has_rotation);
    }
    if free < ENOUGH {
        let summary = format!("{} free for logs, which may need {}", bytes(free), bytes(ENOUGH));
        let is_full = free < NEARLY_NOTHING;
        let finding = if is_full { Finding::problem(summary) } else { Finding::warning(summary) };
        return finding
            .evidence(format!("df: {} available; logs of nginx's site: {}", bytes(free), bytes(total(now))))
            .fix("# delete files that are not needed; the largest: sudo du -xh / | sort -h | tail -n 30");
    }
    // A rotation between both samples makes them smaller.
    let grown = total(now).saturating_sub(total(before));
    let a_day = u128::from(grown) * DAY.as_millis() / elapsed.as_millis().max(1);
    if !has_rotation && a_day > u128::from(free) {
        let a_day = bytes(u64::try_from(a_day).unwrap_or(u64::MAX));
        let summary = format!("the logs of nginx's site grow by {a_day} a day, with {} free", bytes(free));
        return rotate(Finding::warning(summary), false);
    }
    Finding::ok(format!("{} free for logs", bytes(free)))
}

fn rotate(finding: Finding, is_active: bool) -> Finding {
    let state = if is_active { "active" } else { "inactive" };
    finding
        .evidence(format!("systemctl is-active {ROTATION}: {state}"))
        .fix(format!("sudo systemctl start {ROTATION}"))
        .fix("# if it is active already: sudo journalctl -u pixeld-logrotate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{checks::fixtures::only, finding::FindingState};

    #[test]
    fn free_bytes_are_read() {
        assert_eq!(parse_free("      Avail\n58902810624\n 58902810625\n"), Ok(58_902_810_624));
        assert!(parse_free("Avail\n").is_err());
    }

    #[test]
    fn full_disk_and_growing_logs_are_reported() {
        const SIZE: u64 = 5_000_000;

        for (free, has_rotation, size, state, part) in [
            (8 << 30, false, SIZE, FindingState::Ok, "8.0 GiB free"),
            (900 << 20, true, SIZE, FindingState::Warning, "900.0 MiB free"),
            (10 << 20, true, SIZE, FindingState::Problem, "10.0 MiB free"),
            (8 << 30, true, 300 << 20, FindingState::Problem, "300.0 MiB and is not rotated"),
            // 24 GB a day.
            (8 << 30, true, SIZE + 280_000, FindingState::Ok, "free"),
            (8 << 30, false, SIZE + 280_000, FindingState::Warning, "a day"),
            (80 << 30, false, SIZE + 280_000, FindingState::Ok, "free"),
        ] {
            let finding =
                evaluate(free, has_rotation, &[(LOGS[0], SIZE)], &[(LOGS[0], size)], Duration::from_secs(1));
            assert!(only(Ok(vec![finding]), state).summary.contains(part), "{part}");
        }
    }
}
