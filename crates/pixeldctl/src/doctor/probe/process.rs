use crate::doctor::host_facts::{Host, Probe, Unavailable};

/// `RLIMIT_NOFILE` of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLimit {
    pub soft: u64,
    pub hard: u64,
}

/// The CPUs that a process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpus {
    /// By its affinity.
    pub allowed: u64,
    /// By the quotas of its control groups, rounded down, but at least one.
    pub quota: Option<u64>,
}

impl Cpus {
    /// The number of workers that "auto" starts.
    pub fn usable(self) -> u64 {
        self.quota.map_or(self.allowed, |quota| quota.min(self.allowed))
    }
}

/// Ticks of all CPUs since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTime {
    pub total: u64,
    /// Ticks in which the hypervisor ran another guest.
    pub stolen: u64,
}

/// Reads `/proc/PID/limits`.
pub fn file_limit(host: &Host, pid: u32) -> Probe<FileLimit> {
    let path = format!("/proc/{pid}/limits");
    parse_limits(&host.read(&path)?).ok_or_else(|| Unavailable(format!("{path} has no line on open files")))
}

fn parse_limits(text: &str) -> Option<FileLimit> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let number = |word: &str| if word == "unlimited" { Some(u64::MAX) } else { word.parse::<u64>().ok() };
    let mut words = line.split_whitespace();
    Some(FileLimit { soft: number(words.next()?)?, hard: number(words.next()?)? })
}

/// Reads the affinity of a process, and the quotas of its control group and of those around it.
pub fn cpus(host: &Host, pid: u32) -> Probe<Cpus> {
    let path = format!("/proc/{pid}/status");
    let allowed = parse_affinity(&host.read(&path)?)
        .ok_or_else(|| Unavailable(format!("{path} has no list of CPUs that can be read")))?;
    let groups = host.read(&format!("/proc/{pid}/cgroup"))?;
    let mut group = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let mut quota: Option<u64> = None;
    while !group.trim_matches('/').is_empty() {
        let limit = host.read(&format!("/sys/fs/cgroup{group}/cpu.max")).ok();
        let limit = limit.as_deref().and_then(parse_quota);
        quota = quota.into_iter().chain(limit).min();
        group = group.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    Ok(Cpus { allowed, quota })
}

/// Counts the CPUs of a list such as `0-3,8`.
fn parse_affinity(status: &str) -> Option<u64> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim()
        .split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
            (last + 1).checked_sub(first)
        })
        .sum()
}

/// `max 100000` or `150000 100000`: microseconds in each period.
fn parse_quota(text: &str) -> Option<u64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let whole = quota.parse::<u64>().ok()?.checked_div(period.parse().ok()?)?;
    Some(whole.max(1))
}

/// Reads the first line of `/proc/stat`.
pub fn cpu_time(host: &Host) -> Probe<CpuTime> {
    let text = host.read("/proc/stat")?;
    parse_stat(&text).ok_or_else(|| Unavailable("/proc/stat has no line on all CPUs".into()))
}

fn parse_stat(text: &str) -> Option<CpuTime> {
    /// user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user already.
    const STATES: usize = 8;
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(STATES).map_while(|word| word.parse().ok()).collect();
    Some(CpuTime { total: ticks.iter().sum(), stolen: *ticks.get(STATES - 1)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_limits_are_parsed() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max processes             96262                96262                processes\n\
                    Max open files            1024                 unlimited            files\n";
        assert_eq!(parse_limits(text), Some(FileLimit { soft: 1024, hard: u64::MAX }));
        assert_eq!(parse_limits("nothing"), None);
    }

    #[test]
    fn cpu_count_equals_the_daemons() {
        assert_eq!(parse_affinity("Cpus_allowed:\tff\nCpus_allowed_list:\t0-3,8\n"), Some(5));
        assert_eq!(parse_affinity("Cpus_allowed_list:\t0\n"), Some(1));
        assert_eq!(parse_affinity("Cpus_allowed_list:\t3-1\n"), None);
        assert_eq!(parse_quota("max 100000\n"), None);
        assert_eq!(parse_quota("350000 100000\n"), Some(3));
        assert_eq!(parse_quota("50000 100000\n"), Some(1));
        assert_eq!(Cpus { allowed: 4, quota: Some(2) }.usable(), 2);
        assert_eq!(Cpus { allowed: 1, quota: Some(2) }.usable(), 1);
    }

    #[test]
    fn quota_of_outer_cgroup_counts() {
        let (_folder, host) = Host::with_files(&[
            ("proc/7/status", "Cpus_allowed_list:\t0-7\n"),
            ("proc/7/cgroup", "1:cpu:/\n0::/system.slice/pixeld.service\n"),
            ("sys/fs/cgroup/system.slice/pixeld.service/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/system.slice/cpu.max", "200000 100000\n"),
        ]);
        assert_eq!(cpus(&host, 7), Ok(Cpus { allowed: 8, quota: Some(2) }));
        assert!(cpus(&host, 8).unwrap_err().0.contains("/proc/8/status"));
    }

    #[test]
    fn steal_is_the_eighth_column() {
        let text = "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(parse_stat(text), Some(CpuTime { total: 360, stolen: 80 }));
        assert_eq!(parse_stat("cpu  1 2 3 4\n"), None);
    }
}
