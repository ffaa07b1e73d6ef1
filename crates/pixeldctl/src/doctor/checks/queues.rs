use super::common::{CheckResult, drop_in, listeners, or_ok, reopen};
use crate::doctor::{
    finding::Finding,
    host_facts::Unavailable,
    probe::{Facts, net::Queue, units},
};

/// `Backlog=` of a unit that does not set it: as much as the kernel grants.
const UNLIMITED: u64 = i32::MAX as u64;
/// The backlog of pixeld's own sockets and of its units.
const USUAL: u64 = 4096;
/// Enough for the clients that connect at once in a load test.
const LEAST: u64 = 1024;

/// Whether the queue of each socket is as long as its unit asks for.
pub fn backlog(facts: &Facts) -> CheckResult {
    let queues = facts.queues.as_ref()?;
    let somaxconn = *facts.somaxconn.as_ref()?;
    let mut findings = Vec::new();
    let mut shortest: Option<u64> = None;
    let mut most_wanted = 0;
    for listener in listeners(facts) {
        let Some(queue) = queues.iter().find(|queue| queue.is_of(&listener)) else { continue };
        let unit = unit_of(facts, &listener);
        let asked: u64 = unit.and_then(|unit| unit.value("Backlog").parse().ok()).unwrap_or(USUAL);
        let wanted = if asked >= UNLIMITED { somaxconn } else { asked };
        most_wanted = most_wanted.max(wanted);
        shortest = shortest.into_iter().chain([queue.backlog]).min();
        if queue.is_full() {
            findings.push(full(&listener, queue));
        }
        if queue.backlog < wanted {
            findings.push(clamped(&listener, queue, unit, wanted, somaxconn));
        } else if wanted < LEAST {
            findings.push(short(&listener, queue, unit, somaxconn));
        }
    }
    let shortest = shortest.ok_or_else(|| Unavailable("pixeld does not listen".into()))?;
    if findings.is_empty() && somaxconn < most_wanted {
        findings.push(
            Finding::warning(format!("a socket that is opened from now on queues only {somaxconn} clients"))
                .evidence(format!("net.core.somaxconn = {somaxconn}; the open sockets have {most_wanted}"))
                .fix_all(raise_somaxconn(most_wanted)),
        );
    }
    Ok(or_ok(findings, || Finding::ok(format!("each socket of pixeld queues {shortest} clients"))))
}

fn unit_of<'a>(facts: &'a Facts, listener: &str) -> Option<&'a units::Unit> {
    let path = listener.strip_prefix("unix:").unwrap_or(listener);
    let sockets = facts.units.iter().flat_map(units::Units::http_sockets);
    sockets.filter(|unit| unit.is_active()).find(|unit| unit.listens_on().any(|address| address == path))
}

fn raise_somaxconn(wanted: u64) -> [String; 2] {
    [
        format!("echo net.core.somaxconn={wanted} | sudo tee /etc/sysctl.d/99-pixeld.conf"),
        "sudo sysctl -p /etc/sysctl.d/99-pixeld.conf".into(),
    ]
}

/// The command that opens the socket of a listener again.
fn reopened(unit: Option<&units::Unit>) -> String {
    unit.map_or_else(|| "# then start pixeld again".into(), |unit| reopen(unit.name()))
}

fn clamped(
    listener: &str,
    queue: &Queue,
    unit: Option<&units::Unit>,
    wanted: u64,
    somaxconn: u64,
) -> Finding {
    let finding = Finding::problem(format!("{listener} queues only {} clients", queue.backlog)).evidence(
        format!("ss: Send-Q {}; asked for {wanted}; net.core.somaxconn = {somaxconn}", queue.backlog),
    );
    let finding = if somaxconn < wanted { finding.fix_all(raise_somaxconn(wanted)) } else { finding };
    finding.fix(reopened(unit))
}

fn short(listener: &str, queue: &Queue, unit: Option<&units::Unit>, somaxconn: u64) -> Finding {
    let finding = Finding::warning(format!("{listener} queues only {} clients", queue.backlog));
    let Some(unit) = unit.filter(|_| somaxconn >= LEAST) else {
        let evidence = format!("ss: Send-Q {}; net.core.somaxconn = {somaxconn}", queue.backlog);
        return finding.evidence(evidence).fix_all(raise_somaxconn(USUAL)).fix(reopened(unit));
    };
    let evidence = format!("{}; drop-ins: {}", unit.shown("Backlog"), unit.value("DropInPaths"));
    let fix = drop_in(unit.name(), "Socket", &format!("Backlog={USUAL}"));
    finding.evidence(evidence).fix_all(fix).fix(reopened(Some(unit)))
}

fn full(listener: &str, queue: &Queue) -> Finding {
    Finding::problem(format!("the queue at {listener} is full, and clients are rejected"))
        .evidence(format!("ss: Recv-Q {} of Send-Q {}", queue.waiting, queue.backlog))
        .fix("# pixeld does not accept clients fast enough; these show why:")
        .fix("pixeldctl stats")
        .fix("pixeldctl workers")
}

/// Whether a full queue rejects clients.
pub fn overflows(facts: &Facts) -> CheckResult {
    let [before, after] = &facts.samples;
    let before = before.overflows.as_ref()?;
    let after = after.overflows.as_ref()?;
    let overflows = after.overflows.saturating_sub(before.overflows);
    let drops = after.drops.saturating_sub(before.drops);
    let total = format!("since boot {} overflows, {} drops", after.overflows, after.drops);
    if overflows == 0 && drops == 0 {
        return Ok(vec![Finding::ok("no TCP client was rejected during the check").evidence(total)]);
    }
    let full = facts.queues.iter().flatten().find(|queue| queue.is_full());
    let full = full.map_or_else(String::new, |queue| format!("; {} is full", queue.address));
    let finding = Finding::problem("listening sockets reject clients")
        .evidence(format!("{overflows} overflows and {drops} drops during the check{full}; {total}"))
        .fix("# find the socket whose Recv-Q is near its Send-Q, and raise its backlog:")
        .fix("# Backlog= in pixeld's socket units, `listen … backlog=4096` in nginx")
        .fix("ss -ltn");
    Ok(vec![finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{FindingState, change_units, healthy, only},
        probe::net::Overflows,
    };

    #[test]
    fn queue_capped_by_somaxconn_is_a_problem() {
        let mut facts = healthy();
        only(backlog(&facts), FindingState::Ok);
        facts.somaxconn = Ok(128);
        facts.queues.as_mut().unwrap()[0].backlog = 128;
        let finding = only(backlog(&facts), FindingState::Problem);
        assert!(finding.summary.contains("/run/pixeld/http.sock"), "{finding:?}");
        assert!(finding.fix[0].contains("net.core.somaxconn=4096"), "{finding:?}");
        assert_eq!(finding.fix.last().unwrap(), "sudo systemctl restart pixeld.socket");
    }

    #[test]
    fn lowered_somaxconn_counts_at_the_next_start() {
        let mut facts = healthy();
        facts.somaxconn = Ok(128);
        only(backlog(&facts), FindingState::Warning);
    }

    #[test]
    fn small_backlog_of_the_unit_is_reported() {
        let mut facts = healthy();
        change_units(&mut facts, "Backlog=4096", "Backlog=16\nDropInPaths=/etc/x.conf");
        facts.queues.as_mut().unwrap()[0].backlog = 16;
        let finding = only(backlog(&facts), FindingState::Warning);
        assert!(finding.evidence.contains("Backlog=16") && finding.evidence.contains("/etc/x.conf"));
        assert!(finding.fix[1].contains("pixeld.socket.d"), "{finding:?}");
    }

    #[test]
    fn full_queue_is_a_problem() {
        let mut facts = healthy();
        facts.queues.as_mut().unwrap()[1].waiting = 4097;
        assert!(only(backlog(&facts), FindingState::Problem).summary.contains("[::]:8000 is full"));
    }

    #[test]
    fn only_growing_overflows_count() {
        let mut facts = healthy();
        assert!(only(overflows(&facts), FindingState::Ok).evidence.contains("since boot 3 overflows"));
        facts.samples[1].overflows = Ok(Overflows { overflows: 7, drops: 9 });
        let finding = only(overflows(&facts), FindingState::Problem);
        assert!(finding.evidence.contains("4 overflows and 6 drops"), "{finding:?}");
    }
}
