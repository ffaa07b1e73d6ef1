use tokio::time::sleep;

use super::common::{CheckResult, INTERVAL, daemon_of, reload};
use crate::doctor::{
    facts::Facts,
    finding::Finding,
    host::{Host, Probe, Unavailable},
};

/// Percent of stolen time that delays responses.
const NOTICEABLE: f64 = 5.0;
/// Percent above which a load test measures the hypervisor.
const SEVERE: f64 = 20.0;

/// Whether the hypervisor runs other guests on the CPUs.
pub async fn steal(facts: &Facts) -> CheckResult {
    let before = facts.host.read("/proc/stat")?;
    sleep(INTERVAL).await;
    compare(&before, &facts.host.read("/proc/stat")?)
}

/// Compares two contents of `/proc/stat`.
fn compare(before: &str, after: &str) -> CheckResult {
    let ticks =
        |stat| parse_stat(stat).ok_or_else(|| Unavailable("/proc/stat has no line on all CPUs".into()));
    let ([total_before, stolen_before], [total_after, stolen_after]) = (ticks(before)?, ticks(after)?);
    let stolen = stolen_after.saturating_sub(stolen_before);
    let total = total_after.saturating_sub(total_before);
    #[allow(clippy::cast_precision_loss)] // ticks of one second
    let percent = stolen as f64 * 100.0 / total.max(1) as f64;
    let evidence = format!("/proc/stat: {stolen} of {total} ticks stolen while probing");
    if percent < NOTICEABLE {
        return Ok(vec![Finding::ok(format!("{percent:.0} % of the CPU time is stolen")).evidence(evidence)]);
    }
    let summary = format!("the hypervisor steals {percent:.0} % of the CPU time");
    let finding = if percent < SEVERE { Finding::warning(summary) } else { Finding::problem(summary) };
    let finding = finding
        .evidence(evidence)
        .fix("# a burstable instance (t2, t3) has no CPU credits left: wait, or allow more:")
        .fix("# aws ec2 modify-instance-credit-specification --instance-credit-specification \\")
        .fix("#     InstanceId=ID,CpuCredits=unlimited");
    Ok(vec![finding])
}

/// Returns all ticks since boot, and those in which the hypervisor ran another guest.
fn parse_stat(text: &str) -> Option<[u64; 2]> {
    /// user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user already.
    const STATES: usize = 8;
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(STATES).map_while(|word| word.parse().ok()).collect();
    Some([ticks.iter().sum(), *ticks.get(STATES - 1)?])
}

/// Whether there are about as many workers as CPUs.
pub fn workers(facts: &Facts) -> CheckResult {
    let daemon = daemon_of(facts)?;
    let pid = daemon.stats.process.pid;
    let allowed = affinity(&facts.host, pid)?;
    let quota = quota(&facts.host, pid)?;
    let workers = daemon.stats.workers;
    // The number of workers that "auto" starts.
    let usable = quota.map_or(allowed, |quota| quota.min(allowed));
    let is_far = |workers: u64| workers > 2 * usable || 2 * workers < usable;
    if !is_far(workers) {
        return Ok(vec![Finding::ok(format!("{workers} workers for {usable} CPUs"))]);
    }
    let quota = quota.map_or_else(String::new, |quota| format!(", a quota of {quota}"));
    let finding = Finding::warning(if workers > usable {
        format!("{workers} workers share {usable} CPUs")
    } else {
        format!("{workers} workers use {workers} of {usable} CPUs")
    });
    let finding = finding.evidence(format!(
        "process {pid}: affinity to {allowed} CPUs{quota}; {} workers are configured",
        daemon.configured_workers
    ));
    Ok(vec![if is_far(daemon.configured_workers) {
        finding
            .fix("# in pixeld.toml, or in the file in pixeld.toml.d that sets it: workers = \"auto\"")
            .fix(reload(facts, daemon))
    } else {
        finding.fix("sudo pixeldctl workers auto")
    }])
}

/// Counts the CPUs of a process's list, such as `0-3,8`.
fn affinity(host: &Host, pid: u32) -> Probe<u64> {
    let path = format!("/proc/{pid}/status");
    let status = host.read(&path)?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let count = list.and_then(|list| {
        let count = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
            (last + 1).checked_sub(first)
        };
        list.trim().split(',').map(count).sum()
    });
    count.ok_or_else(|| Unavailable(format!("{path} has no list of CPUs that can be read")))
}

/// Returns the lowest quota of a process's control group and of those around it, in CPUs: rounded down, at least one.
fn quota(host: &Host, pid: u32) -> Probe<Option<u64>> {
    let groups = host.read(&format!("/proc/{pid}/cgroup"))?;
    let mut group = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let mut quota: Option<u64> = None;
    while !group.trim_matches('/').is_empty() {
        let limit = host.read(&format!("/sys/fs/cgroup{group}/cpu.max")).ok();
        let limit = limit.as_deref().and_then(parse_quota);
        quota = quota.into_iter().chain(limit).min();
        group = group.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    Ok(quota)
}

/// `max 100000` or `150000 100000`: microseconds in each period.
fn parse_quota(text: &str) -> Option<u64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let whole = quota.parse::<u64>().ok()?.checked_div(period.parse().ok()?)?;
    Some(whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{healthy, only, with_files},
        finding::FindingState,
    };

    #[test]
    fn steal_from_five_percent_on_is_reported() {
        let before = "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        for (stolen, state) in
            [(9, FindingState::Ok), (10, FindingState::Warning), (40, FindingState::Problem)]
        {
            let after = format!("cpu  {} 20 30 40 50 60 70 {} 95 100\n", 210 - stolen, 80 + stolen);
            only(compare(before, &after), state);
        }
        assert!(compare("cpu  1 2 3 4\n", before).is_err());
    }

    #[test]
    fn too_many_and_too_few_workers_are_reported() {
        let mut facts = healthy();
        let mut check = |workers, cpus, quota: &str, state| {
            let group = "sys/fs/cgroup/system.slice/pixeld.service/cpu.max";
            let _folder = with_files(
                &mut facts,
                &[
                    ("proc/124/status", &format!("Cpus_allowed:\tff\nCpus_allowed_list:\t{cpus}\n")),
                    ("proc/124/cgroup", "1:cpu:/\n0::/system.slice/pixeld.service\n"),
                    (group, "max 100000\n"),
                    ("sys/fs/cgroup/system.slice/cpu.max", quota),
                ],
            );
            facts.daemon.as_mut().unwrap().stats.workers = workers;
            only(super::workers(&facts), state)
        };
        check(2, "0-1", "max 100000\n", FindingState::Ok);
        let finding = check(64, "0,8", "max 100000\n", FindingState::Warning);
        assert_eq!((finding.summary.as_str(), finding.fix.len()), ("64 workers share 2 CPUs", 1));
        assert_eq!(finding.fix[0], "sudo pixeldctl workers auto");
        let finding = check(2, "0-7", "max 100000\n", FindingState::Warning);
        assert!(finding.fix[0].contains("workers = \"auto\""), "{finding:?}");
        // A quota of an outer group counts, rounded down, but at least one CPU.
        check(2, "0-7", "250000 100000\n", FindingState::Ok);
        check(2, "0-7", "50000 100000\n", FindingState::Ok);
        check(3, "0-7", "50000 100000\n", FindingState::Warning);
        facts.daemon.as_mut().unwrap().stats.process.pid = 9;
        assert!(super::workers(&facts).unwrap_err().0.contains("/proc/9/status"));
    }
}
