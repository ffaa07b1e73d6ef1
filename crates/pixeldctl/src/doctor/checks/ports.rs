use std::net::SocketAddr;

use super::common::{CheckResult, listeners};
use crate::doctor::{
    finding::Finding,
    probe::{Facts, nginx::Nginx},
};

/// Percent of the ports towards one server above which nginx may run out of them.
const MANY: u64 = 20;
/// Percent above which it is about to run out.
const MOST: u64 = 50;

/// Whether closed connections exhaust the ports between nginx and pixeld.
pub fn time_wait(facts: &Facts) -> CheckResult {
    let time_wait = facts.time_wait.as_ref()?;
    let port = |listener: &String| listener.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let own: Vec<_> = listeners(facts).iter().filter_map(port).collect();
    // The client of another server is not nginx; it may be the load test.
    let servers = facts.nginx.as_ref().map(Nginx::servers);
    let is_other = |server: &SocketAddr| {
        servers.as_ref().is_ok_and(|servers| !servers.iter().any(|one| *one == server.to_string()))
    };
    let outgoing = time_wait
        .outgoing
        .iter()
        .map(|(server, count)| (*count, format!("from this host to {server}"), is_other(server)));
    // On other ports of this host, the clients belong to other services.
    let incoming = time_wait.incoming.iter().filter(|((port, _), _)| own.contains(port));
    let incoming =
        incoming.map(|((port, ip), count)| (*count, format!("from {ip} to port {port} here"), false));
    let (count, whose, is_foreign) = outgoing.chain(incoming).max().unwrap_or_default();
    let percent = count * 100 / time_wait.ports.max(1);
    let total = format!("{} sockets in TIME-WAIT, {} local ports", time_wait.total, time_wait.ports);
    if percent < MANY {
        return Ok(vec![Finding::ok(format!("{percent} % of local ports are in TIME-WAIT")).evidence(total)]);
    }
    let summary = format!("{percent} % of the ports {whose} are in TIME-WAIT");
    let finding = if percent < MOST { Finding::warning(summary) } else { Finding::problem(summary) };
    let finding = finding.evidence(format!("{count} sockets in TIME-WAIT {whose}; {total}"));
    if is_foreign {
        let line = "# the client on this host that connects there should keep its connections open";
        return Ok(vec![finding.fix(line)]);
    }
    let finding = finding
        .fix("# nginx opens a connection for each request; on its host, let it keep them:")
        .fix("#   upstream: keepalive 256;")
        .fix("#   location: proxy_http_version 1.1; proxy_set_header Connection \"\";")
        .fix("sudo nginx -t && sudo systemctl reload nginx");
    Ok(vec![finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks::fixtures::{FindingState, healthy, only};

    #[test]
    fn port_exhaustion_towards_one_server_is_found() {
        let mut facts = healthy();
        only(time_wait(&facts), FindingState::Ok);
        let server = "10.77.0.20:8000".parse().unwrap();
        facts.time_wait.as_mut().unwrap().outgoing.insert(server, 6000);
        let finding = only(time_wait(&facts), FindingState::Warning);
        assert!(finding.summary.contains("21 %") && finding.summary.contains("10.77.0.20:8000"));
        facts.time_wait.as_mut().unwrap().outgoing.insert(server, 20_000);
        only(time_wait(&facts), FindingState::Problem);
    }

    #[test]
    fn ports_of_other_clients_are_not_blamed_on_nginx() {
        let mut facts = healthy();
        facts.time_wait.as_mut().unwrap().outgoing.insert("127.0.0.1:80".parse().unwrap(), 20_000);
        let finding = only(time_wait(&facts), FindingState::Problem);
        assert!(finding.fix.iter().all(|line| !line.contains("nginx")), "{finding:?}");
    }

    #[test]
    fn time_wait_counts_only_on_pixelds_ports() {
        let mut facts = healthy();
        let nginx = "10.77.0.10".parse().unwrap();
        facts.time_wait.as_mut().unwrap().incoming.insert((80, nginx), 20_000);
        only(time_wait(&facts), FindingState::Ok);
        facts.time_wait.as_mut().unwrap().incoming.insert((8000, nginx), 20_000);
        assert!(
            only(time_wait(&facts), FindingState::Problem).summary.contains("from 10.77.0.10 to port 8000")
        );
    }
}
