use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::doctor::host_facts::{Host, Probe, Unavailable};

/// A listening socket, as `ss` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// `/path`, or an address with its port, such as `*:8000`.
    pub address: String,
    /// Clients that wait to be accepted.
    pub waiting: u64,
    /// Clients that may wait.
    pub backlog: u64,
}

/// Clients that listening TCP sockets rejected since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflows {
    /// `ListenOverflows`: the queue was full.
    pub overflows: u64,
    /// `ListenDrops`: for this reason or another.
    pub drops: u64,
}

/// Connections in TIME-WAIT, which occupy ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeWait {
    /// Number of local ports for outgoing connections.
    pub ports: u64,
    pub total: u64,
    /// By the server that this host had connected to.
    pub outgoing: HashMap<SocketAddr, u64>,
    /// By the port of this host and the client that had connected to it.
    pub incoming: HashMap<(u16, IpAddr), u64>,
}

impl Queue {
    /// Whether this is the socket of a listener: `unix:/path`, `/path`, or an address with a port.
    pub fn is_of(&self, listener: &str) -> bool {
        let path = listener.strip_prefix("unix:").unwrap_or(listener);
        if path.starts_with('/') || self.address.starts_with('/') {
            return self.address == path;
        }
        // ss and pixeld spell "all addresses" differently; the port is enough.
        let port = |text: &str| text.rsplit_once(':').map(|(_, port)| port.to_owned());
        port(&self.address) == port(path)
    }

    /// Whether the next client is rejected.
    pub fn is_full(&self) -> bool {
        self.waiting > 0 && self.waiting >= self.backlog
    }
}

/// Runs `ss`: /proc does not show the backlog.
pub async fn queues(host: &Host) -> Probe<Vec<Queue>> {
    let text = host.ask("ss", &["-H", "-l", "-t", "-x", "-n"]).await?;
    Ok(text.lines().filter_map(parse_queue).collect())
}

fn parse_queue(line: &str) -> Option<Queue> {
    let mut words = line.split_whitespace();
    let (kind, state) = (words.next()?, words.next()?);
    let (waiting, backlog) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let is_stream = matches!(kind, "tcp" | "u_str") && state == "LISTEN";
    is_stream.then_some(Queue { address: words.next()?.into(), waiting, backlog })
}

/// Reads the paths of listening Unix sockets.
pub fn unix_listeners(host: &Host) -> Probe<Vec<String>> {
    /// `__SO_ACCEPTCON`
    const LISTENS: &str = "00010000";
    let text = host.read("/proc/net/unix")?;
    let path = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        (*words.get(3)? == LISTENS).then(|| words.get(7).map(|path| (*path).to_owned())).flatten()
    };
    Ok(text.lines().filter_map(path).collect())
}

/// Reads `/proc/net/netstat`.
pub fn overflows(host: &Host) -> Probe<Overflows> {
    let text = host.read("/proc/net/netstat")?;
    parse_netstat(&text).ok_or_else(|| Unavailable("/proc/net/netstat does not count overflows".into()))
}

fn parse_netstat(text: &str) -> Option<Overflows> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next()?.split(' '), lines.next()?.split(' '));
    let counters: HashMap<_, _> = names.zip(values).collect();
    let counter = |name| counters.get(name)?.parse().ok();
    Some(Overflows { overflows: counter("ListenOverflows")?, drops: counter("ListenDrops")? })
}

/// Reads the tables of TCP sockets, and the range of ports for outgoing connections.
pub fn time_wait(host: &Host) -> Probe<TimeWait> {
    let path = "/proc/sys/net/ipv4/ip_local_port_range";
    let range: Vec<u16> = host.read(path)?.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [first, last] = range[..] else {
        return Err(Unavailable(format!("{path} does not contain two ports")));
    };
    let mut time_wait = TimeWait {
        ports: u64::from(last.saturating_sub(first)) + 1,
        total: 0,
        outgoing: HashMap::new(),
        incoming: HashMap::new(),
    };
    let mut tables = host.read("/proc/net/tcp")?;
    // A host without IPv6 lacks this file.
    tables += &host.read("/proc/net/tcp6").unwrap_or_default();
    for (local, remote) in tables.lines().filter_map(parse_time_wait) {
        time_wait.total += 1;
        if (first..=last).contains(&local.port()) {
            *time_wait.outgoing.entry(remote).or_default() += 1;
        } else {
            *time_wait.incoming.entry((local.port(), remote.ip())).or_default() += 1;
        }
    }
    Ok(time_wait)
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

    #[test]
    fn queues_are_found_by_any_address_spelling() {
        let http = parse_queue("u_str LISTEN 3  128   /run/pixeld/http.sock 7514211 * 0").unwrap();
        assert_eq!(http, Queue { address: "/run/pixeld/http.sock".into(), waiting: 3, backlog: 128 });
        assert!(http.is_of("unix:/run/pixeld/http.sock") && http.is_of("/run/pixeld/http.sock"));
        assert!(!http.is_of("[::]:8000"));
        let tcp = parse_queue("tcp   LISTEN 0      4096   *:8000    *:*").unwrap();
        assert!(tcp.is_of("[::]:8000") && !tcp.is_of("[::]:80") && !tcp.is_of("/run/x"));
        assert_eq!(parse_queue("u_dgr UNCONN 0 0 /run/systemd/notify 1 * 0"), None);
    }

    #[test]
    fn queue_is_full_if_the_next_client_fails() {
        let queue = |waiting, backlog| Queue { address: "/x".into(), waiting, backlog };
        assert!(queue(128, 128).is_full() && queue(129, 128).is_full());
        assert!(!queue(127, 128).is_full() && !queue(0, 0).is_full());
    }

    #[test]
    fn overflows_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPHPHits\nTcpExt: 9 7 8 6\n\
                    IpExt: InNoRoutes\nIpExt: 0\n";
        assert_eq!(parse_netstat(text), Some(Overflows { overflows: 7, drops: 8 }));
        assert_eq!(parse_netstat("TcpExt: A\nTcpExt: 1\n"), None);
    }

    #[test]
    fn time_wait_is_counted_by_direction() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                    0: 0A004D0A:9C40 14004D0A:1F40 06 00000000:00000000\n\
                    1: 0A004D0A:1F40 14004D0A:9C41 06 00000000:00000000\n\
                    2: 0A004D0A:9C42 14004D0A:1F40 01 00000000:00000000\n";
        let tables: Vec<_> = text.lines().filter_map(parse_time_wait).collect();
        if cfg!(target_endian = "little") {
            let (c5, t2) = ("10.77.0.10", "10.77.0.20");
            let address = |ip: &str, port| SocketAddr::new(ip.parse().unwrap(), port);
            assert_eq!(tables[0], (address(c5, 40000), address(t2, 8000)));
            let mapped = parse_address("0000000000000000FFFF00000A004D0A:0050").unwrap();
            assert_eq!(mapped, address(c5, 80));
        }
        assert_eq!(tables.len(), 2);

        let tables = ("proc/net/tcp", text);
        let (_folder, host) = Host::with_files(&[tables]);
        assert!(time_wait(&host).unwrap_err().0.contains("ip_local_port_range"));
        let range = ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        let (_folder, host) = Host::with_files(&[tables, range]);
        let time_wait = time_wait(&host).unwrap();
        assert_eq!((time_wait.ports, time_wait.total), (28_232, 2));
        assert_eq!((time_wait.outgoing.len(), time_wait.incoming.len()), (1, 1));
    }

    #[test]
    fn only_accepting_unix_sockets_listen() {
        let text = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                    0000: 00000002 00000000 00010000 0001 01 12 /run/pixeld/http.sock\n\
                    0000: 00000003 00000000 00000000 0001 03 13 /run/pixeld/gone.sock\n\
                    0000: 00000003 00000000 00010000 0001 01 14\n";
        let (_folder, host) = Host::with_files(&[("proc/net/unix", text)]);
        assert_eq!(unix_listeners(&host).unwrap(), ["/run/pixeld/http.sock"]);
    }
}
