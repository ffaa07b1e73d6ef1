//! Facts: what the host's files, its programs and the daemon say, without a judgement.

pub mod access;
pub mod clock;
pub mod config_files;
pub mod disk;
pub mod journal;
pub mod net;
pub mod nginx;
pub mod process;
pub mod units;
pub mod upstream;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{
    daemon_facts::{self, DaemonError, DaemonFacts},
    host_facts::{Host, Probe, Unavailable},
};

/// How far the two samples of what grows are apart.
const INTERVAL: Duration = Duration::from_secs(1);

/// Everything that was found out.
#[derive(Debug)]
pub struct Facts {
    /// What the daemon says of itself.
    pub daemon: Result<DaemonFacts, DaemonError>,
    /// Faults that the daemon finds in the configuration files, or would.
    pub configuration_faults: Probe<Vec<String>>,
    /// The process of the service that systemd runs.
    pub main_pid: Option<u32>,
    /// How many files its process may open.
    pub files: Probe<process::FileLimit>,
    /// Which CPUs its process may use.
    pub cpus: Probe<process::Cpus>,
    pub units: Probe<units::Units>,
    /// The queues of listening sockets.
    pub queues: Probe<Vec<net::Queue>>,
    /// `net.core.somaxconn`
    pub somaxconn: Probe<u64>,
    /// Paths of Unix sockets that somebody listens on.
    pub unix_listeners: Probe<Vec<String>>,
    /// Connections that are closed and whose ports are not free yet.
    pub time_wait: Probe<net::TimeWait>,
    /// What nginx passes to pixeld.
    pub nginx: Probe<nginx::Nginx>,
    /// What decides whether nginx may connect to Unix sockets.
    pub access: Probe<Vec<access::SocketAccess>>,
    /// What the servers of nginx's say, without those that asking would start.
    pub servers: Vec<(String, upstream::ServerState)>,
    /// Lines that journald has thrown away.
    pub suppressed: Probe<journal::Suppressed>,
    /// The file system of the logs.
    pub disk: Probe<disk::LogDisk>,
    /// Whether the clock is right.
    pub clock: Probe<clock::Clock>,
    /// What grows, at the beginning and at the end.
    pub samples: [CounterSample; 2],
}

/// What is looked at twice.
#[derive(Debug, Clone)]
pub struct CounterSample {
    /// Clients that were turned away.
    pub overflows: Probe<net::Overflows>,
    /// The time of all CPUs.
    pub cpu: Probe<process::CpuTime>,
    /// The logs of nginx's site, and their sizes.
    pub logs: Vec<(&'static str, u64)>,
    pub instant: clock::Instants,
}

impl CounterSample {
    fn take(host: &Host) -> Self {
        Self {
            overflows: net::overflows(host),
            cpu: process::cpu_time(host),
            logs: disk::log_sizes(host),
            instant: clock::Instants::now(),
        }
    }
}

/// Looks at everything, in about a second.
pub async fn collect(host: &Host, socket: Option<PathBuf>) -> Facts {
    let begun = Instant::now();
    let first = CounterSample::take(host);
    let units = units::probe(host).await;
    let unix_listeners = net::unix_listeners(host);
    let the_daemon = async {
        let daemon = daemon_facts::ask(socket.clone(), host.limit()).await;
        let faults = match &daemon {
            Ok(_) => daemon_facts::configuration_faults(socket, host.limit()).await,
            Err(_) => config_files::check(host).await,
        };
        let main_pid = units::main_pid(host).await;
        let uptime = daemon.as_ref().ok().map(|daemon| daemon.uptime);
        let suppressed = journal::suppressed(host, uptime).await;
        (daemon, faults, main_pid, suppressed)
    };
    let the_proxy = async {
        let nginx = nginx::probe(host).await;
        let mut servers = nginx.as_ref().map(nginx::Nginx::servers).unwrap_or_default();
        servers.retain(|server| !units.as_ref().is_ok_and(|units| units.would_start(server)));
        let states = upstream::ask_all(servers).await;
        let access = match &nginx {
            Ok(nginx) => access::probe(host, nginx).await,
            Err(unavailable) => Err(unavailable.clone()),
        };
        (nginx, states, access)
    };
    let ((daemon, configuration_faults, main_pid, suppressed), (nginx, servers, access), disk, clock) =
        tokio::join!(the_daemon, the_proxy, disk::probe(host), clock::probe(host));
    let queues = net::queues(host).await;
    sleep(INTERVAL.saturating_sub(begun.elapsed())).await;

    let pid = daemon.as_ref().ok().map(|daemon| daemon.pid).or(main_pid);
    let no_process = || Unavailable("no process of pixeld is known".into());
    Facts {
        files: pid.ok_or_else(no_process).and_then(|pid| process::file_limit(host, pid)),
        cpus: pid.ok_or_else(no_process).and_then(|pid| process::cpus(host, pid)),
        daemon,
        configuration_faults,
        main_pid,
        units,
        queues,
        somaxconn: host.number("/proc/sys/net/core/somaxconn"),
        unix_listeners,
        time_wait: net::time_wait(host),
        nginx,
        access,
        servers,
        suppressed,
        disk,
        clock,
        samples: [first, CounterSample::take(host)],
    }
}
