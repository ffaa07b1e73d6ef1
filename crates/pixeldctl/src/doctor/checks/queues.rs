use std::collections::HashMap;

use tokio::time::sleep;

use super::common::{CheckResult, INTERVAL, drop_in, listeners, or_ok, reopen};
use crate::doctor::{
    facts::Facts,
    finding::Finding,
    host::{Host, Probe, Unavailable},
    units,
};

/// `Backlog=` of a unit that does not set it: as much as the kernel grants.
const UNLIMITED: u64 = i32::MAX as u64;
/// The backlog of pixeld's own sockets and of its units.
const USUAL: u64 = 4096;
/// Enough for the clients that connect at once in a load test.
const LEAST: u64 = 1024;

/// A listening socket, as `ss` shows it.
struct Queue {
    /// `/path`, or an address with its port, such as `*:8000`.
    address: String,
    /// Clients that wait to be accepted.
    waiting: u64,
    /// Clients that may wait.
    backlog: u64,
}

impl Queue {
    /// Whether this is the socket of a listener: `unix:/path`, `/path`, or an address with a port.
    fn is_of(&self, listener: &str) -> bool {
        let path = listener.strip_prefix("unix:").unwrap_or(listener);
        if path.starts_with('/') || self.address.starts_with('/') {
            return self.address == path;
        }
        // ss and pixeld spell "all addresses" differently; the port is enough.
        let port = |text: &str| text.rsplit_once(':').map(|(_, port)| port.to_owned());
        port(&self.address) == port(path)
    }

    /// Whether the next client is rejected.
    fn is_full(&self) -> bool {
        self.waiting > 0 && self.waiting >= self.backlog
    }
}

/// Whether the queue of each socket is as long as its unit asks for.
pub async fn backlog(facts: &Facts) -> CheckResult {
    let shown = show_queues(&facts.host).await?;
    let path = "/proc/sys/net/core/somaxconn";
    let text = facts.host.read(path)?;
    let somaxconn = text.trim().parse();
    let no_number = |_| Unavailable(format!("{path} contains {:?}, no number", text.trim()));
    compare(facts, &shown, somaxconn.map_err(no_number)?)
}

/// Runs `ss`: /proc does not show the backlog.
async fn show_queues(host: &Host) -> Probe<String> {
    host.ask("ss", &["-H", "-l", "-t", "-x", "-n"]).await
}

fn parse_queues(shown: &str) -> Vec<Queue> {
    shown.lines().filter_map(parse_queue).collect()
}

fn parse_queue(line: &str) -> Option<Queue> {
    let mut words = line.split_whitespace();
    let (kind, state) = (words.next()?, words.next()?);
    let (waiting, backlog) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let is_stream = matches!(kind, "tcp" | "u_str") && state == "LISTEN";
    is_stream.then_some(Queue { address: words.next()?.into(), waiting, backlog })
}

fn compare(facts: &Facts, shown: &str, somaxconn: u64) -> CheckResult {
    let queues = parse_queues(shown);
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
pub async fn overflows(facts: &Facts) -> CheckResult {
    let netstat = || facts.host.read("/proc/net/netstat");
    let before = netstat()?;
    sleep(INTERVAL).await;
    let shown = show_queues(&facts.host).await.unwrap_or_default();
    Ok(vec![compare_counters(&before, &netstat()?, &shown)?])
}

/// Compares two contents of `/proc/net/netstat`; `shown` is what `ss` shows.
fn compare_counters(before: &str, after: &str, shown: &str) -> Probe<Finding> {
    let (before, after) = (parse_netstat(before)?, parse_netstat(after)?);
    let [overflows, drops] = [0, 1].map(|counter| after[counter].saturating_sub(before[counter]));
    let total = format!("since boot {} overflows, {} drops", after[0], after[1]);
    if overflows == 0 && drops == 0 {
        return Ok(Finding::ok("no TCP client was rejected during the check").evidence(total));
    }
    let queues = parse_queues(shown);
    let full = queues.iter().find(|queue| queue.is_full());
    let full = full.map_or_else(String::new, |queue| format!("; {} is full", queue.address));
    Ok(Finding::problem("listening sockets reject clients")
        .evidence(format!("{overflows} overflows and {drops} drops during the check{full}; {total}"))
        .fix("# find the socket whose Recv-Q is near its Send-Q, and raise its backlog:")
        .fix("# Backlog= in pixeld's socket units, `listen … backlog=4096` in nginx")
        .fix("ss -ltn"))
}

/// Returns how often the queue of a TCP socket was full, and how often a client was rejected, since boot.
fn parse_netstat(text: &str) -> Probe<[u64; 2]> {
    let counters = || {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
        let (names, values) = (lines.next()?.split(' '), lines.next()?.split(' '));
        let counters: HashMap<_, _> = names.zip(values).collect();
        let counter = |name| counters.get(name)?.parse().ok();
        Some([counter("ListenOverflows")?, counter("ListenDrops")?])
    };
    counters().ok_or_else(|| Unavailable("/proc/net/netstat does not count overflows".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{change_units, healthy, only},
        finding::FindingState,
    };

    const HTTP: &str = "u_str LISTEN 0 4096 /run/pixeld/http.sock 7514211 * 0\n";
    const TCP: &str = "tcp   LISTEN 0      4096   *:8000    *:*\n";

    fn with_backlog(socket: &str, backlog: u64) -> String {
        socket.replace("4096", &backlog.to_string())
    }

    #[test]
    fn queue_capped_by_somaxconn_is_a_problem() {
        let facts = healthy();
        only(compare(&facts, &[HTTP, TCP].concat(), 4096), FindingState::Ok);
        let capped = with_backlog(HTTP, 128) + TCP;
        let finding = only(compare(&facts, &capped, 128), FindingState::Problem);
        assert!(finding.summary.contains("/run/pixeld/http.sock"), "{finding:?}");
        assert!(finding.fix[0].contains("net.core.somaxconn=4096"), "{finding:?}");
        assert_eq!(finding.fix.last().unwrap(), "sudo systemctl restart pixeld.socket");
        // A lower somaxconn counts at the next start.
        only(compare(&facts, &[HTTP, TCP].concat(), 128), FindingState::Warning);
        assert!(compare(&facts, "u_dgr UNCONN 0 0 /run/systemd/notify 1 * 0\n", 4096).is_err());
    }

    #[test]
    fn small_backlog_of_the_unit_is_reported() {
        let mut facts = healthy();
        change_units(&mut facts, "Backlog=4096", "Backlog=16\nDropInPaths=/etc/x.conf");
        let finding = only(compare(&facts, &with_backlog(HTTP, 16), 4096), FindingState::Warning);
        assert!(finding.evidence.contains("Backlog=16") && finding.evidence.contains("/etc/x.conf"));
        assert!(finding.fix[1].contains("pixeld.socket.d"), "{finding:?}");
    }

    #[test]
    fn queue_is_full_if_the_next_client_fails() {
        let facts = healthy();
        for (waiting, state) in
            [(4095, FindingState::Ok), (4096, FindingState::Problem), (4097, FindingState::Problem)]
        {
            let queue = TCP.replace("LISTEN 0", &format!("LISTEN {waiting}"));
            let finding = only(compare(&facts, &queue, 4096), state);
            assert_eq!(finding.summary.contains("[::]:8000 is full"), finding.is_wrong());
        }
    }

    #[test]
    fn only_growing_overflows_count() {
        let netstat = |overflows: u64, drops: u64| {
            let names = "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPHPHits";
            format!("{names}\nTcpExt: 9 {overflows} {drops} 6\nIpExt: InNoRoutes\nIpExt: 0\n")
        };
        let finding = compare_counters(&netstat(3, 3), &netstat(3, 3), "").unwrap();
        assert_eq!(
            (finding.is_wrong(), finding.evidence.as_str()),
            (false, "since boot 3 overflows, 3 drops")
        );
        let finding = compare_counters(&netstat(3, 3), &netstat(7, 9), "").unwrap();
        assert!(finding.evidence.contains("4 overflows and 6 drops"), "{finding:?}");
        assert!(compare_counters("TcpExt: A\nTcpExt: 1\n", "", "").is_err());
    }
}
