mod exposition;

use std::{
    fmt::Display,
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

use self::exposition::{DaemonMetrics, Exposition, seconds};
use super::{
    args::Purpose,
    error::{CommandError, CommandErrors},
    fanout::{self, Replies},
    options::Options,
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
        // Each sample may be there once only, and so may each host.
        if hosts.contains(&host) {
            continue;
        }
        hosts.push(host.clone());
        let mut daemon = exposition.of(host);
        daemon.add(
            "pixeld_up",
            "Whether the daemon responded when it was last asked.",
            u8::from(reply.is_ok()),
        );
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

/// Returns an error unless systemd has the unit active. Only systemd knows: if it has the sockets of a daemon that
/// does not run, connecting would start the daemon.
async fn require_active(unit: String, options: &Options) -> Result<(), CommandError> {
    let mut systemctl = Command::new("systemctl");
    systemctl.args(["--quiet", "is-active", "--", &unit]).stdin(Stdio::null()).kill_on_drop(true);
    let reason = match timeout(options.timeout, systemctl.output()).await {
        Ok(Ok(output)) => match output.status.code() {
            Some(0) => return Ok(()),
            // Not active, or no such unit.
            Some(3 | 4) => return Err(CommandError::Inactive(unit)),
            _ => String::from_utf8_lossy(&output.stderr).trim_end().into(),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not respond".into(),
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
            // Another process may have put a file there meanwhile, which may have other names.
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

/// Replaces a file in one step, so that no process reads half of it.
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
        // Without the name of the new file, which means nothing to the user.
        .map_err(|error| io::Error::from(error.kind()))?;
    new.as_file_mut().write_all(text.as_bytes())?;
    // The collector has another user; the umask does not matter.
    new.as_file().set_permissions(Permissions::from_mode(0o644))?;
    new.persist(path)?;
    Ok(())
}

fn write(daemon: &mut DaemonMetrics, stats: &Stats, workers: &WorkersReply) {
    daemon.add_of(
        ("version", &stats.process.version),
        "pixeld_build_info",
        "The version of the daemon, as a label.",
        1,
    );
    daemon.add(
        "pixeld_drained",
        "Whether requests get status 503 because an operator drained the daemon.",
        u8::from(stats.state == ServiceState::Drained),
    );
    write_config(daemon, stats);
    write_requests(daemon, stats);
    write_connections(daemon, &stats.connections);
    daemon.add("pixeld_received_bytes_total", "Bytes received on client connections.", stats.bytes_received);
    daemon.add("pixeld_sent_bytes_total", "Bytes sent on client connections.", stats.bytes_sent);
    daemon.add(
        "pixeld_log_lines_dropped_total",
        "Log lines that could not be written, or not fast enough.",
        stats.log_lines_dropped,
    );
    daemon.add(
        "pixeld_counters_since_timestamp_seconds",
        "When the counters began, which outlive restarts, since 1970-01-01 UTC.",
        milliseconds(stats.counters_since_unix_ms),
    );
    write_process(daemon, &stats.process);
    for (state, label) in [(WorkerState::Serving, "serving"), (WorkerState::Leaving, "leaving")] {
        let count = workers.workers.iter().filter(|worker| worker.state == state).count();
        daemon.add_of(("state", label), "pixeld_workers", "Worker threads by their state.", count);
    }
    daemon.add(
        "pixeld_workers_configured",
        "Worker threads that the configuration asks for.",
        workers.configured,
    );
    workers.workers.iter().for_each(|worker| write_worker(daemon, worker));
}

fn write_config(daemon: &mut DaemonMetrics, stats: &Stats) {
    // pixeld 0.1 does not say it.
    if stats.config_loaded_unix_ms > 0 {
        daemon.add(
            "pixeld_config_last_reload_successful",
            "Whether the configuration was accepted when it was last read.",
            u8::from(stats.last_reload_succeeded),
        );
        daemon.add(
            "pixeld_config_last_reload_success_timestamp_seconds",
            "When the configuration in effect was read, since 1970-01-01 UTC.",
            milliseconds(stats.config_loaded_unix_ms),
        );
    }
}

fn write_requests(daemon: &mut DaemonMetrics, stats: &Stats) {
    for outcome in Outcome::ALL {
        daemon.add_of(
            ("outcome", &outcome.name().replace(' ', "_")),
            "pixeld_requests_total",
            "Requests that have a response, by their outcome.",
            stats.requests.get(outcome),
        );
    }
    // A connection has one request at a time. The two numbers are not of the same moment.
    daemon.add(
        "pixeld_requests_in_flight",
        "Requests that are incomplete, or whose responses are not sent.",
        stats.connections.open.saturating_sub(stats.connections.idle),
    );
    let buckets: Vec<_> =
        stats.latency.buckets.iter().map(|bucket| (bucket.below_us, bucket.count)).collect();
    daemon.durations(
        "pixeld_request_duration_seconds",
        "Time from the first byte of a request to the last byte of its response.",
        &buckets,
        stats.latency.sum_us,
    );
}

fn write_connections(daemon: &mut DaemonMetrics, connections: &ConnectionStats) {
    let ConnectionStats {
        open,
        idle,
        accepted,
        adopted,
        limit,
        effective_limit,
        evicted,
        write_timeouts,
        accept_pauses,
    } = connections;
    daemon.add("pixeld_connections_open", "Client connections that are open.", open);
    daemon.add("pixeld_connections_idle", "Open connections that wait for their next request.", idle);
    daemon.add("pixeld_connections_limit", "Connections that may be open (limits.connections).", limit);
    daemon.add(
        "pixeld_connections_effective_limit",
        "Connections that may be open; fewer than configured if too few files may be open.",
        effective_limit,
    );
    daemon.add("pixeld_connections_accepted_total", "Client connections accepted.", accepted);
    daemon.add(
        "pixeld_connections_adopted_total",
        "Connections adopted from the previous process, at a restart.",
        adopted,
    );
    daemon.add("pixeld_connections_evicted_total", "Connections closed to stay within the limit.", evicted);
    daemon.add(
        "pixeld_connections_write_timeouts_total",
        "Connections closed because their clients did not read their responses in time.",
        write_timeouts,
    );
    daemon.add(
        "pixeld_accept_pauses_total",
        "Times that accepting paused, at the limit or because descriptors or memory ran out.",
        accept_pauses,
    );
}

fn write_process(daemon: &mut DaemonMetrics, process: &ProcessInfo) {
    daemon.add(
        "pixeld_starts_total",
        "Starts of the daemon since the counters began, this one included.",
        process.starts,
    );
    daemon.add(
        "pixeld_process_start_time_seconds",
        "When this process started, since 1970-01-01 UTC.",
        milliseconds(process.started_unix_ms),
    );
    daemon.add(
        "pixeld_process_cpu_seconds_total",
        "CPU time that this process has used.",
        milliseconds(process.cpu_ms),
    );
    // No sample is better than a 0 that was not measured.
    if let Some(bytes) = process.memory_bytes {
        daemon.add("pixeld_process_resident_memory_bytes", "Resident memory.", bytes);
    }
    if let Some(count) = process.descriptors_used {
        daemon.add("pixeld_process_open_fds", "File descriptors that are open.", count);
    }
    daemon.add("pixeld_process_max_fds", "File descriptors that may be open.", process.descriptors_allowed);
}

fn write_worker(daemon: &mut DaemonMetrics, worker: &WorkerInfo) {
    let number = worker.number.to_string();
    let mut add =
        |name, help, value: &dyn Display| daemon.add_of(("worker", number.as_str()), name, help, value);
    add("pixeld_worker_requests_total", "Responses of a worker since it started.", &worker.requests);
    add("pixeld_worker_connections_open", "Connections of a worker.", &worker.connections);
    add(
        "pixeld_worker_connections_idle",
        "Connections of a worker that wait for their next request.",
        &worker.idle_connections,
    );
    add(
        "pixeld_worker_connections_taken_total",
        "Connections that a worker was given since it started.",
        &worker.connections_taken,
    );
    add("pixeld_worker_cpu_seconds_total", "CPU time that a worker has used.", &milliseconds(worker.cpu_ms));
    add(
        "pixeld_worker_busy_ratio",
        "The share of the last ten seconds in which a worker was busy.",
        &worker.busy,
    );
    add(
        "pixeld_worker_heartbeat_age_seconds",
        "Time since the last heartbeat of a worker; more than 5 s mean that it is stalled.",
        &milliseconds(worker.heartbeat_age_ms),
    );
}

fn milliseconds(ms: u64) -> String {
    seconds(ms.saturating_mul(1000))
}
