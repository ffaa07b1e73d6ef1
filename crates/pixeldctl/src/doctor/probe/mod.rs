//! Facts from the host's files, its programs and the daemon, without a judgement.

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

/// The time between the two samples of counters.
const INTERVAL: Duration = Duration::from_secs(1);

/// All facts about a host.
#[derive(Debug)]
pub struct Facts {
    pub daemon: Result<DaemonFacts, DaemonError>,
    /// Faults that the daemon finds in the configuration files, or would find at a start.
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
    /// Paths of listening Unix sockets.
    pub unix_listeners: Probe<Vec<String>>,
    /// Closed connections whose ports are not free yet.
    pub time_wait: Probe<net::TimeWait>,
    pub nginx: Probe<nginx::Nginx>,
    /// Whether nginx may connect to the Unix sockets of pixeld.
    pub access: Probe<Vec<access::SocketAccess>>,
    /// The responses of nginx's servers, without those that a connection would start.
    pub servers: Vec<(String, upstream::ServerState)>,
    /// Lines that journald has suppressed.
    pub suppressed: Probe<u64>,
    /// The file system of the logs.
    pub disk: Probe<disk::LogDisk>,
    pub clock: Probe<clock::Clock>,
    /// Counters, at the beginning and at the end.
    pub samples: [CounterSample; 2],
}

/// Counters at one moment.
#[derive(Debug, Clone)]
pub struct CounterSample {
    pub overflows: Probe<net::Overflows>,
    pub cpu: Probe<process::CpuTime>,
    /// Sizes of the logs of nginx's site.
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

/// Collects all facts, in about a second.
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
        let uptime = daemon.as_ref().ok().map(|daemon| Duration::from_millis(daemon.stats.process.uptime_ms));
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

    let pid = daemon.as_ref().ok().map(|daemon| daemon.stats.process.pid).or(main_pid);
    let no_process = || Unavailable("pixeld has no process".into());
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
