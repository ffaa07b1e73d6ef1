mod exposition;

use std::{
    fs::{FileType, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::fcntl::OFlag;
use pixeld_control::{
    LatencyStats, Outcome, ProcessInfo, ServiceState, Stats, WorkerInfo, WorkerState, WorkersReply,
};
use tokio::{process::Command, time::timeout};

use self::exposition::{Exposition, seconds};
use super::{
    args::Purpose,
    error::{CommandError, CommandErrors},
    fanout::{self, Replies},
    options::Options,
    render,
};

/// `pixeldctl stats --prometheus`: writes metrics to stdout or to a file; with a unit, queries the daemon only if
/// the unit is active.
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
        // clap accepts a unit for this host only.
        Err(error) => Replies(options.targets.iter().cloned().zip([Err(error)]).collect()),
    };
    let mut exposition = Exposition::default();
    let (mut hosts, mut errors) = (Vec::new(), Vec::new());
    for (target, reply) in replies.0 {
        let host = options.several.then(|| target.to_string());
        // Two targets may have the same host name, and a sample must not be repeated.
        if hosts.contains(&host) {
            continue;
        }
        hosts.push(host.clone());
        exposition.host = host;
        exposition.add(
            "pixeld_up",
            "Whether the daemon responded to the last query.",
            u8::from(reply.is_ok()),
        );
        match reply {
            Ok((stats, workers)) => write(&mut exposition, &stats, &workers),
            // pixeld_up in the file reports it.
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

/// Fails unless systemd has the unit active. To connect would start a stopped daemon, because systemd listens on
/// its sockets.
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
        Err(_) => "no response".into(),
    };
    Err(CommandError::Systemctl { unit, reason })
}

/// Writes text to a path: replaces a file or a symbolic link, or writes to a pipe or a device. Never follows a
/// link, because in a directory such as /tmp another user may have made it.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let is_other = |kind: FileType| !kind.is_file() && !kind.is_symlink() && !kind.is_dir();
    match path.symlink_metadata() {
        Ok(found) if is_other(found.file_type()) => {
            let mut other =
                OpenOptions::new().write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
            // Another process may have replaced it by a file meanwhile.
            if other.metadata()?.is_file() {
                return Err(ErrorKind::ResourceBusy.into());
            }
            other.write_all(text.as_bytes())
        }
        // To replace /dev/stdout would remove it for every process of the host.
        Ok(link) if link.is_symlink() && path.metadata().is_ok_and(|to| is_other(to.file_type())) => {
            Err(io::Error::other("it is a symbolic link to a pipe or a device, and links are not followed"))
        }
        _ => replace(path, text),
    }
}

/// Replaces a file in one step, so that no process reads half of it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    // Fails with a clearer error than the creation of a temporary file.
    folder.metadata()?;
    // node_exporter's collector reads only files that end in .prom.
    let mut new = tempfile::Builder::new()
        .prefix(".pixeld-")
        .suffix(".new")
        .tempfile_in(folder)
        // Without the name of the temporary file, which is of no use to the user.
        .map_err(|error| io::Error::from(error.kind()))?;
    new.as_file_mut().write_all(text.as_bytes())?;
    // The collector runs as another user, so the umask must not apply.
    new.as_file().set_permissions(Permissions::from_mode(0o644))?;
    new.persist(path)?;
    Ok(())
}

fn write(metrics: &mut Exposition, stats: &Stats, workers: &WorkersReply) {
    let version = ("version", stats.process.version.as_str());
    metrics.add_of(&[version], "pixeld_build_info", "The version of the daemon, as a label.", 1);
    let is_drained = u8::from(stats.state == ServiceState::Drained);
    metrics.add("pixeld_drained", "Whether the daemon is drained and rejects requests with 503.", is_drained);
    write_config(metrics, stats);
    write_requests(metrics, stats);
    write_connections(metrics, stats);
    let since = milliseconds(stats.counters_since_unix_ms);
    metrics.add("pixeld_counters_since_timestamp_seconds", "Unix time when the counters began.", since);
    write_process(metrics, &stats.process);
    for (state, label) in [(WorkerState::Serving, "serving"), (WorkerState::Leaving, "leaving")] {
        let count = workers.workers.iter().filter(|worker| worker.state == state).count();
        metrics.add_of(&[("state", label)], "pixeld_workers", "Worker threads by their state.", count);
    }
    metrics.add("pixeld_workers_configured", "Configured number of worker threads.", workers.configured);
    workers.workers.iter().for_each(|worker| write_worker(metrics, worker));
}

fn write_config(metrics: &mut Exposition, stats: &Stats) {
    let loaded = stats.config_loaded_unix_ms;
    // pixeld 0.1 does not report it.
    if loaded > 0 {
        let name = "pixeld_config_last_reload_successful";
        let succeeded = u8::from(stats.last_reload_succeeded);
        metrics.add(name, "Whether the last reload of the configuration succeeded.", succeeded);
        let name = "pixeld_config_last_reload_success_timestamp_seconds";
        metrics.add(name, "Unix time when the configuration in effect was read.", milliseconds(loaded));
    }
}

fn write_requests(metrics: &mut Exposition, stats: &Stats) {
    for outcome in Outcome::ALL {
        let label = outcome.name().replace(' ', "_");
        let count = stats.requests.get(outcome);
        metrics.add_of(&[("outcome", &label)], "pixeld_requests_total", "Requests by their outcome.", count);
    }
    // A connection has one request at a time. The two numbers are not of the same moment.
    let in_flight = stats.connections.open.saturating_sub(stats.connections.idle);
    let help = "Requests that are incomplete, or whose responses are not sent.";
    metrics.add("pixeld_requests_in_flight", help, in_flight);
    let LatencyStats { buckets, sum_us, .. } = &stats.latency;
    let buckets: Vec<_> = buckets.iter().map(|bucket| (bucket.below_us, bucket.count)).collect();
    let help = "Time from the first byte of a request to the last byte of its response.";
    metrics.durations("pixeld_request_duration_seconds", help, &buckets, *sum_us);
}

fn write_connections(metrics: &mut Exposition, stats: &Stats) {
    let now = &stats.connections;
    for (name, help, value) in [
        ("pixeld_connections_open", "Open client connections.", now.open),
        ("pixeld_connections_idle", "Open connections without a request.", now.idle),
        ("pixeld_connections_limit", "Configured limit of open connections.", now.limit),
        ("pixeld_connections_effective_limit", "Connection limit in effect.", now.effective_limit),
        ("pixeld_connections_accepted_total", "Accepted client connections.", now.accepted),
        ("pixeld_connections_adopted_total", "Connections adopted from a previous process.", now.adopted),
        ("pixeld_connections_evicted_total", "Connections closed to stay within the limit.", now.evicted),
        (
            "pixeld_connections_write_timeouts_total",
            "Connections closed because their clients did not read the response in time.",
            now.write_timeouts,
        ),
        (
            "pixeld_accept_pauses_total",
            "Pauses of accepting, at the limit or because descriptors or memory ran out.",
            now.accept_pauses,
        ),
        ("pixeld_received_bytes_total", "Bytes received on client connections.", stats.bytes_received),
        ("pixeld_sent_bytes_total", "Bytes sent on client connections.", stats.bytes_sent),
        ("pixeld_log_lines_dropped_total", "Log lines that were dropped.", stats.log_lines_dropped),
    ] {
        metrics.add(name, help, value);
    }
}

fn write_process(metrics: &mut Exposition, process: &ProcessInfo) {
    let started = milliseconds(process.started_unix_ms);
    metrics.add("pixeld_starts_total", "Starts of the daemon since the counters began.", process.starts);
    metrics.add("pixeld_process_start_time_seconds", "Unix time when the process started.", started);
    metrics.add("pixeld_process_cpu_seconds_total", "CPU time of the process.", milliseconds(process.cpu_ms));
    // No sample is better than a 0 that was not measured.
    if let Some(bytes) = process.memory_bytes {
        metrics.add("pixeld_process_resident_memory_bytes", "Resident memory.", bytes);
    }
    if let Some(count) = process.descriptors_used {
        metrics.add("pixeld_process_open_fds", "Open file descriptors.", count);
    }
    metrics.add("pixeld_process_max_fds", "Limit of open file descriptors.", process.descriptors_allowed);
}

fn write_worker(metrics: &mut Exposition, worker: &WorkerInfo) {
    let number = worker.number.to_string();
    for (name, help, value) in [
        ("pixeld_worker_requests_total", "Responses of a worker.", worker.requests.to_string()),
        ("pixeld_worker_connections_open", "Connections of a worker.", worker.connections.to_string()),
        (
            "pixeld_worker_connections_idle",
            "Connections of a worker without a request.",
            worker.idle_connections.to_string(),
        ),
        (
            "pixeld_worker_connections_taken_total",
            "Connections that a worker was given.",
            worker.connections_taken.to_string(),
        ),
        ("pixeld_worker_cpu_seconds_total", "CPU time of a worker.", milliseconds(worker.cpu_ms)),
        (
            "pixeld_worker_busy_ratio",
            "Share of the last ten seconds in which a worker was busy.",
            worker.busy.to_string(),
        ),
        (
            "pixeld_worker_heartbeat_age_seconds",
            "Time since the last heartbeat of a worker, normally at most 1 s.",
            milliseconds(worker.heartbeat_age_ms),
        ),
    ] {
        metrics.add_of(&[("worker", &number)], name, help, value);
    }
}

fn milliseconds(ms: u64) -> String {
    seconds(ms.saturating_mul(1000))
}
