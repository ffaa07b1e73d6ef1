use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::common::{CheckResult, listeners};
use crate::doctor::{facts::Facts, finding::Finding, host::Unavailable, nginx::Nginx};

/// Percent of the ports towards one server above which nginx may run out of them.
const MANY: u64 = 20;
/// Percent above which it is about to run out.
const MOST: u64 = 50;

/// Whether closed connections exhaust the ports between nginx and pixeld.
pub fn time_wait(facts: &Facts) -> CheckResult {
    let path = "/proc/sys/net/ipv4/ip_local_port_range";
    let range = facts.host.read(path)?;
    let range: Vec<u16> = range.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [first, last] = range[..] else {
        return Err(Unavailable(format!("{path} does not contain two ports")));
    };
    let mut tables = facts.host.read("/proc/net/tcp")?;
    // A host without IPv6 lacks this file.
    tables += &facts.host.read("/proc/net/tcp6").unwrap_or_default();
    Ok(vec![evaluate(facts, first, last, &tables)])
}

/// Evaluates tables of TCP sockets, on a host whose local ports are `first` to `last`.
fn evaluate(facts: &Facts, first: u16, last: u16, tables: &str) -> Finding {
    let port = |listener: &String| listener.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let own: Vec<_> = listeners(facts).iter().filter_map(port).collect();
    let ports = u64::from(last.saturating_sub(first)) + 1;
    // The client of another server is not nginx; it may be the load test.
    let servers = facts.nginx.as_ref().map(Nginx::servers);
    let is_other = |server: &SocketAddr| {
        servers.as_ref().is_ok_and(|servers| !servers.iter().any(|one| *one == server.to_string()))
    };
    let mut total = 0;
    let mut counts = HashMap::<_, u64>::new();
    for (local, remote) in tables.lines().filter_map(parse_time_wait) {
        total += 1;
        if (first..=last).contains(&local.port()) {
            let whose = format!("from this host to {remote}");
            *counts.entry((whose, is_other(&remote))).or_default() += 1;
        } else if own.contains(&local.port()) {
            // On other ports of this host, the clients belong to other services.
            let whose = format!("from {} to port {} here", remote.ip(), local.port());
            *counts.entry((whose, false)).or_default() += 1;
        }
    }
    let most = counts.into_iter().map(|((whose, is_foreign), count)| (count, whose, is_foreign)).max();
    let (count, whose, is_foreign) = most.unwrap_or_default();
    let percent = count * 100 / ports;
    let total = format!("{total} sockets in TIME-WAIT, {ports} local ports");
    if percent < MANY {
        return Finding::ok(format!("{percent} % of local ports are in TIME-WAIT")).evidence(total);
    }
    let summary = format!("{percent} % of the ports {whose} are in TIME-WAIT");
    let finding = if percent < MOST { Finding::warning(summary) } else { Finding::problem(summary) };
    let finding = finding.evidence(format!("{count} sockets in TIME-WAIT {whose}; {total}"));
    if is_foreign {
        return finding.fix("# the client on this host that connects there should keep its connections open");
    }
    finding
        .fix("# nginx opens a connection for each request; on its host, let it keep them:")
        .fix("#   upstream: keepalive 256;")
        .fix("#   location: proxy_http_version 1.1; proxy_set_header Connection \"\";")
        .fix("sudo nginx -t && sudo systemctl reload nginx")
}

fn parse_time_wait(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    const TIME_WAIT: &str = "06";
    let mut words = line.split_whitespace().skip(1);
    let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
    (state == TIME_WAIT).then(|| Some((parse_address(local)?, parse_address(remote)?))).flatten()
}

/// Parses an address of /proc/net/tcp, whose 32-bit words have the byte order of the host.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |i: usize| u32::from_str_radix(address.get(8 * i..8 * i + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = if address.len() == 8 {
        IpAddr::V4(Ipv4Addr::from(word(0)?))
    } else {
        let words = [word(0)?, word(1)?, word(2)?, word(3)?];
        let bytes: [u8; 16] = words.concat().try_into().ok()?;
        Ipv6Addr::from(bytes).to_canonical()
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{healthy, only},
        finding::FindingState,
    };

    /// A table with this many sockets in TIME-WAIT.
    fn sockets(count: usize, local: &str, remote: &str) -> String {
        let hex = |address: &str| {
            let address: SocketAddr = address.parse().unwrap();
            let IpAddr::V4(ip) = address.ip() else { panic!("{address}") };
            format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port())
        };
        format!("  0: {} {} 06 00000000:00000000\n", hex(local), hex(remote)).repeat(count)
    }

    #[test]
    fn ports_in_time_wait_are_attributed_to_their_peers() {
        const LOCAL: &str = "10.77.0.10:40000";
        const SERVER: &str = "10.77.0.20:8000";

        let facts = healthy();
        let check = |tables: &str, state| only(Ok(vec![evaluate(&facts, 32_768, 60_999, tables)]), state);
        let established = sockets(20_000, LOCAL, SERVER).replace(" 06 ", " 01 ");
        assert!(check(&established, FindingState::Ok).evidence.contains("0 sockets in TIME-WAIT, 28232"));
        let finding = check(&sockets(6000, LOCAL, SERVER), FindingState::Warning);
        assert!(finding.summary.contains("21 %") && finding.summary.contains(SERVER), "{finding:?}");
        check(&sockets(20_000, LOCAL, SERVER), FindingState::Problem);

        let finding = check(&sockets(20_000, LOCAL, "127.0.0.1:80"), FindingState::Problem);
        assert!(finding.fix.iter().all(|line| !line.contains("nginx")), "not nginx's server: {finding:?}");

        check(&sockets(20_000, "10.77.0.20:80", "10.77.0.10:50000"), FindingState::Ok);
        let finding = check(&sockets(20_000, SERVER, "10.77.0.10:50000"), FindingState::Problem);
        assert!(finding.summary.contains("from 10.77.0.10 to port 8000"), "{finding:?}");
    }

    #[test]
    fn mapped_address_is_one_of_ipv4() {
        if cfg!(target_endian = "little") {
            let mapped = parse_address("0000000000000000FFFF00000A004D0A:0050").unwrap();
            assert_eq!(mapped, "10.77.0.10:80".parse().unwrap());
        }
    }
}
