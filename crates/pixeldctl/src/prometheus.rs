use std::{
    fs::{FileType, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::fcntl::OFlag;
use pixeld_control::{
    ConnectionStats, Outcome, ProcessInfo, ServiceState, Stats, WorkerInfo, WorkerState, WorkersReply,
};
use tokio::{process::Command, time::timeout};

use super::{
    Options,
    args::Purpose,
    error::{CommandError, CommandErrors},
    exposition::{DaemonMetrics, Exposition, seconds},
    fanout::{self, Replies},
    render,
};

/// `pixeldctl stats --prometheus`: to stdout or into a file, of daemons that are asked only if this
/// unit is active.
pub async fn run(
    options: &Options,
    output: Option<PathBuf>,
    if_active: Option<String>,
) -> Result<(), CommandErrors> {
    let is_to_ask = match if_active {
        Some(unit) => require_active(unit, options).await,
        None => Ok(()),
    };
    let replies = match is_to_ask {
        Ok(()) => {
            fanout::ask(options, Purpose::Read, async |connection| {
                Ok((connection.stats().await?, connection.workers().await?))
            })
            .await
        }
        // Only one place goes with a unit: this host.
        Err(error) => Replies(options.targets.iter().cloned().zip([Err(error)]).collect()),
    };
    let mut exposition = Exposition::default();
    let (mut hosts, mut errors) = (Vec::new(), Vec::new());
    for (target, reply) in replies.0 {
        let host = options.several.then(|| target.to_string());
        // No sample may stand there twice, so neither may a host.
        if hosts.contains(&host) {
            continue;
        }
        hosts.push(host.clone());
        let mut daemon = exposition.of(host);
        daemon.gauge("pixeld_up", "Whether pixeld gave its figures when asked.", u8::from(reply.is_ok()));
        match reply {
            Ok((stats, workers)) => write(&mut daemon, &stats, &workers),
            // The file says so, which is what it is for.
            Err(error) if output.is_some() && error.is_not_running() => {}
            Err(error) if options.several => errors.push(error.at(&target)),
            Err(error) => errors.push(error),
        }
    }
    let text = exposition.to_string();
    let written = match output {
        Some(path) if path != Path::new("-") => {
            put(&path, &text).map_err(|error| CommandError::Write(path, error))
        }
        _ => render::print_text(&text),
    };
    CommandErrors::all(errors.into_iter().chain(written.err()))
}

/// Lets nobody be asked unless systemd has the unit active. Only systemd can tell: where it holds the
/// sockets of a daemon that does not run, connecting would start the daemon.
async fn require_active(unit: String, options: &Options) -> Result<(), CommandError> {
    let mut systemctl = Command::new("systemctl");
    systemctl.args(["--quiet", "is-active", "--", &unit]).stdin(Stdio::null()).kill_on_drop(true);
    let reason = match timeout(options.timeout, systemctl.output()).await {
        Ok(Ok(answer)) => match answer.status.code() {
            Some(0) => return Ok(()),
            // Not active, or no such unit.
            Some(3 | 4) => return Err(CommandError::Inactive(unit)),
            _ => String::from_utf8_lossy(&answer.stderr).trim_end().into(),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not answer".into(),
    };
    Err(CommandError::Systemctl { unit, reason })
}

/// Writes text to a path: in the place of a file or of a symbolic link, or into a pipe or a device. A link
/// is never followed: in a folder such as /tmp it may be that of another user, and lead to any file.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let is_other = |kind: FileType| !kind.is_file() && !kind.is_symlink() && !kind.is_dir();
    match path.symlink_metadata() {
        Ok(found) if is_other(found.file_type()) => {
            let mut other =
                OpenOptions::new().write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
            // Somebody may have put a file there meanwhile, which may have other names.
            if other.metadata()?.is_file() {
                return Err(ErrorKind::ResourceBusy.into());
            }
            other.write_all(text.as_bytes())
        }
        // Replacing /dev/stdout would take it from every process of the host.
        Ok(link) if link.is_symlink() && path.metadata().is_ok_and(|to| is_other(to.file_type())) => {
            Err(io::Error::other("it is a link to a pipe or a device, and links are not followed"))
        }
        _ => replace(path, text),
    }
}

/// Puts a file in the place of another in one step, so that nobody reads half of it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    // Of one that is not there, the system has better words than what is left of an error below.
    folder.metadata()?;
    // Its name has another ending: the collector of node_exporter leaves it alone.
    let mut new = tempfile::Builder::new()
        .prefix(".pixeld-")
        .suffix(".new")
        .tempfile_in(folder)
        // Without the name of the new file, which nobody has asked for.
        .map_err(|error| io::Error::from(error.kind()))?;
    new.as_file_mut().write_all(text.as_bytes())?;
    // For whoever collects it, whatever the umask is.
    new.as_file().set_permissions(Permissions::from_mode(0o644))?;
    new.persist(path)?;
    Ok(())
}

fn write(daemon: &mut DaemonMetrics, stats: &Stats, workers: &WorkersReply) {
    daemon.gauge_of(
        ("version", &stats.process.version),
        "pixeld_build_info",
        "The version of pixeld that runs, as a label.",
        1,
    );
    daemon.gauge(
        "pixeld_drained",
        "Whether requests are answered with 503 because an operator drained pixeld.",
        u8::from(stats.state == ServiceState::Drained),
    );
    for outcome in Outcome::ALL {
        daemon.counter_of(
            ("outcome", &outcome.name().replace(' ', "_")),
            "pixeld_requests_total",
            "Answered requests by their outcome.",
            stats.requests.get(outcome),
        );
    }
    let buckets: Vec<_> =
        stats.latency.buckets.iter().map(|bucket| (bucket.below_us, bucket.count)).collect();
    daemon.durations(
        "pixeld_request_duration_seconds",
        "Time from the first byte of a request to the last byte of its answer.",
        &buckets,
        stats.latency.sum_us,
    );
    write_connections(daemon, &stats.connections);
    daemon.counter(
        "pixeld_received_bytes_total",
        "Bytes that came in on client connections.",
        stats.bytes_received,
    );
    daemon.counter("pixeld_sent_bytes_total", "Bytes that went out on client connections.", stats.bytes_sent);
    daemon.counter(
        "pixeld_log_lines_dropped_total",
        "Log lines that could not be written, or not fast enough.",
        stats.log_lines_dropped,
    );
    daemon.gauge(
        "pixeld_counting_since_timestamp_seconds",
        "When the counters began, which outlive restarts, since 1970-01-01 UTC.",
        milliseconds(stats.counters_since_unix_ms),
    );
    write_process(daemon, &stats.process);
    for (state, label) in [(WorkerState::Serving, "serving"), (WorkerState::Leaving, "leaving")] {
        let count = workers.workers.iter().filter(|worker| worker.state == state).count();
        daemon.gauge_of(("state", label), "pixeld_workers", "Worker threads by what they do.", count);
    }
    daemon.gauge(
        "pixeld_workers_configured",
        "Worker threads that the configuration asks for.",
        workers.configured,
    );
    workers.workers.iter().for_each(|worker| write_worker(daemon, worker));
}

fn write_connections(daemon: &mut DaemonMetrics, connections: &ConnectionStats) {
    let ConnectionStats {
        open,
        idle,
        accepted,
        restored,
        limit,
        effective_limit,
        evicted,
        write_timeouts,
        accept_pauses,
    } = connections;
    daemon.gauge("pixeld_connections_open", "Client connections that are open.", open);
    daemon.gauge("pixeld_connections_idle", "Open connections that wait for their next request.", idle);
    daemon.gauge("pixeld_connections_limit", "Connections that may be open (limits.connections).", limit);
    daemon.gauge(
        "pixeld_connections_allowed",
        "The same, or fewer where the limit of open files leaves no room for so many.",
        effective_limit,
    );
    daemon.counter("pixeld_connections_accepted_total", "Client connections accepted.", accepted);
    daemon.counter(
        "pixeld_connections_restored_total",
        "Connections taken over from the process before, at a restart.",
        restored,
    );
    daemon.counter(
        "pixeld_connections_evicted_total",
        "Connections closed to make room at the limit.",
        evicted,
    );
    daemon.counter(
        "pixeld_connections_cut_total",
        "Connections cut off because their client did not take its answers in time.",
        write_timeouts,
    );
    daemon.counter(
        "pixeld_accept_pauses_total",
        "Times that accepting paused, at the limit or for want of descriptors or memory.",
        accept_pauses,
    );
}

fn write_process(daemon: &mut DaemonMetrics, process: &ProcessInfo) {
    daemon.counter(
        "pixeld_starts_total",
        "Starts of pixeld since the counters began, this one included.",
        process.starts,
    );
    daemon.gauge(
        "pixeld_process_start_time_seconds",
        "When this process started, since 1970-01-01 UTC.",
        milliseconds(process.started_unix_ms),
    );
    daemon.counter(
        "pixeld_process_cpu_seconds_total",
        "CPU time that this process has used.",
        milliseconds(process.cpu_ms),
    );
    // Without a sample, nobody takes 0 for what was measured.
    if let Some(bytes) = process.memory_bytes {
        daemon.gauge("pixeld_process_resident_memory_bytes", "Memory that is resident.", bytes);
    }
    if let Some(count) = process.descriptors_used {
        daemon.gauge("pixeld_process_open_fds", "Descriptors that are open.", count);
    }
    daemon.gauge("pixeld_process_max_fds", "Descriptors that may be open.", process.descriptors_allowed);
}

fn write_worker(daemon: &mut DaemonMetrics, worker: &WorkerInfo) {
    let number = worker.number.to_string();
    let label = ("worker", number.as_str());
    daemon.counter_of(
        label,
        "pixeld_worker_requests_total",
        "Requests that a worker has answered since it started.",
        worker.requests,
    );
    daemon.gauge_of(label, "pixeld_worker_connections", "Connections that a worker has.", worker.connections);
    daemon.gauge_of(
        label,
        "pixeld_worker_idle_connections",
        "Connections of a worker that wait for their next request.",
        worker.idle_connections,
    );
    daemon.counter_of(
        label,
        "pixeld_worker_connections_taken_total",
        "Connections that a worker was given since it started.",
        worker.connections_taken,
    );
    daemon.counter_of(
        label,
        "pixeld_worker_cpu_seconds_total",
        "CPU time that a worker has used.",
        milliseconds(worker.cpu_ms),
    );
    daemon.gauge_of(
        label,
        "pixeld_worker_busy_ratio",
        "The share of the last ten seconds in which a worker was busy.",
        worker.busy,
    );
    daemon.gauge_of(
        label,
        "pixeld_worker_progress_age_seconds",
        "Time since a worker last came round; more than a few seconds mean that it is stuck.",
        milliseconds(worker.heartbeat_age_ms),
    );
}

fn milliseconds(ms: u64) -> String {
    seconds(ms.saturating_mul(1000))
}
