use super::common::{CheckResult, daemon_of, reload};
use crate::doctor::{finding::Finding, probe::Facts};

/// Percent of stolen time that delays responses.
const NOTICEABLE: f64 = 5.0;
/// Percent above which a load test measures the hypervisor.
const SEVERE: f64 = 20.0;

/// Whether the hypervisor runs other guests on the CPUs.
pub fn steal(facts: &Facts) -> CheckResult {
    let [before, after] = &facts.samples;
    let before = before.cpu.as_ref()?;
    let after = after.cpu.as_ref()?;
    let stolen = after.stolen.saturating_sub(before.stolen);
    let total = after.total.saturating_sub(before.total);
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

/// Whether there are about as many workers as CPUs.
pub fn workers(facts: &Facts) -> CheckResult {
    let daemon = daemon_of(facts)?;
    let cpus = facts.cpus.as_ref()?;
    let (workers, usable) = (daemon.stats.workers, cpus.usable());
    let is_far = |workers: u64| workers > 2 * usable || 2 * workers < usable;
    if !is_far(workers) {
        return Ok(vec![Finding::ok(format!("{workers} workers for {usable} CPUs"))]);
    }
    let quota = cpus.quota.map_or_else(String::new, |quota| format!(", a quota of {quota}"));
    let finding = Finding::warning(if workers > usable {
        format!("{workers} workers share {usable} CPUs")
    } else {
        format!("{workers} workers use {workers} of {usable} CPUs")
    });
    let finding = finding.evidence(format!(
        "process {}: affinity to {} CPUs{quota}; {} workers are configured",
        daemon.stats.process.pid, cpus.allowed, daemon.configured_workers
    ));
    Ok(vec![if is_far(daemon.configured_workers) {
        finding
            .fix("# in pixeld.toml, or in the file in pixeld.toml.d that sets it: workers = \"auto\"")
            .fix(reload(facts, daemon))
    } else {
        finding.fix("sudo pixeldctl workers auto")
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{FindingState, healthy, only},
        probe::process::{CpuTime, Cpus},
    };

    #[test]
    fn steal_from_five_percent_on_is_reported() {
        let mut facts = healthy();
        only(steal(&facts), FindingState::Ok);
        for (stolen, state) in
            [(19, FindingState::Ok), (20, FindingState::Warning), (80, FindingState::Problem)]
        {
            facts.samples[0].cpu = Ok(CpuTime { total: 1000, stolen: 10 });
            facts.samples[1].cpu = Ok(CpuTime { total: 1200, stolen: 10 + stolen / 2 });
            only(steal(&facts), state);
        }
    }

    #[test]
    fn too_many_and_too_few_workers_are_reported() {
        let mut facts = healthy();
        only(workers(&facts), FindingState::Ok);
        facts.daemon.as_mut().unwrap().stats.workers = 64;
        let finding = only(workers(&facts), FindingState::Warning);
        assert!(finding.summary.contains("64 workers share 2 CPUs"), "{finding:?}");
        assert_eq!(finding.fix, ["sudo pixeldctl workers auto"]);
        facts.daemon.as_mut().unwrap().stats.workers = 2;
        facts.cpus = Ok(Cpus { allowed: 8, quota: None });
        let finding = only(workers(&facts), FindingState::Warning);
        assert!(finding.fix[0].contains("workers = \"auto\""), "{finding:?}");
        facts.cpus = Ok(Cpus { allowed: 8, quota: Some(2) });
        only(workers(&facts), FindingState::Ok);
    }
}
