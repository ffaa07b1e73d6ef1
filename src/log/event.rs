use std::{borrow::Cow, fmt::Display, time::Duration};

use super::caller::Caller;
use crate::control::Level;

/// An event that an operator may need to know.
#[derive(Debug, Clone)]
pub enum Event {
    Ready {
        listeners: Vec<String>,
        workers: usize,
        takes_changes: bool,
        took: Duration,
    },
    /// The daemon does not start, because its configuration has errors.
    ConfigRejected {
        faults: Vec<String>,
    },
    /// The configuration files at the start.
    ConfigLoaded {
        files: Vec<String>,
    },
    /// Deprecated key names, which a later version rejects.
    ConfigDeprecated {
        warnings: Vec<String>,
    },
    /// A descriptor that systemd passed is not used.
    SocketRejected {
        name: String,
        reason: String,
    },
    /// A socket is missing, or cannot be opened.
    SocketFailed {
        reason: String,
    },
    /// The operating system denied a resource that the daemon needs.
    OsError {
        reason: String,
    },
    /// A reload changed these keys, each as "key: from -> to".
    Reloaded {
        changed: Vec<String>,
        needs_restart: Vec<String>,
        by: Caller,
    },
    /// A reload was rejected and changed nothing.
    ReloadFailed {
        faults: Vec<String>,
        by: Caller,
    },
    /// A worker thread serves. The cause is empty at the start of the daemon.
    WorkerStarted {
        worker: usize,
        cause: &'static str,
    },
    /// A worker thread has exited, or ends with the process.
    WorkerExited {
        worker: usize,
        cause: Cow<'static, str>,
        /// The connections that moved to other workers because of the exit.
        moved: u64,
        /// The connections that were handed off to the next process.
        left: u64,
    },
    /// A worker thread makes no progress.
    WorkerStalled {
        worker: usize,
        since: Duration,
    },
    /// The whole process did not run.
    ProcessPaused {
        since: Duration,
    },
    /// The number of workers was changed; `is_override` is false if the configured number is in effect again.
    WorkersSet {
        from: usize,
        to: usize,
        is_override: bool,
        by: Caller,
    },
    /// The log level was changed; `is_override` is false if the configured level is in effect again.
    LogLevelSet {
        from: Level,
        to: Level,
        is_override: bool,
        by: Caller,
    },
    /// Requests get status 503 from now on.
    Drained {
        by: Caller,
    },
    Resumed {
        by: Caller,
    },
    /// The daemon was drained before it started, and still is.
    DrainedAtStart {
        by: Caller,
    },
    /// The counters of the previous process cannot be continued.
    CountersReset {
        reason: String,
    },
    /// The connection limit is reached, or without `limit`: the operating system has no descriptors or memory left.
    /// Connections of the peer with the most are closed.
    LimitReached {
        limit: Option<usize>,
        is_short_of_files: bool,
        peer: String,
        held: usize,
    },
    /// The open-file limit allows only `limit` connections.
    FdLimitTooLow {
        files: usize,
        limit: usize,
        wanted: usize,
    },
    /// Accepting stopped at one socket, for the reason given.
    AcceptPaused {
        socket: String,
        reason: String,
    },
    AcceptResumed {
        socket: String,
    },
    RequestRejected {
        worker: usize,
        client: String,
        status: u16,
        reason: Cow<'static, str>,
    },
    /// A connection failed: its client did not read in time, closed it too early, or reset it.
    Disconnected {
        worker: usize,
        client: String,
        reason: String,
    },
    /// A thread panicked. If a request caused it, only its connection is closed.
    Panicked {
        reason: String,
    },
    /// A control client was rejected or disconnected.
    ControlFailed {
        client: String,
        reason: String,
    },
    Stopping {
        cause: &'static str,
        open: u64,
    },
    /// The daemon has stopped. It responded to `requests` since its start; `cut_off` connections were cut off for a reason.
    Stopped {
        requests: u64,
        handed_over: u64,
        cut_off: u64,
        cut_off_because: String,
        took: Duration,
    },
    /// Connections of the previous process are served.
    ConnectionsAdopted {
        connections: u64,
    },
    /// Connections of the previous process are closed; 0 if the stored socket itself is unusable.
    AdoptFailed {
        connections: u64,
        reason: String,
    },
    /// Connections cannot be handed off to the next process and are closed: at once, or after a last response.
    HandoffFailed {
        connections: u64,
        is_at_once: bool,
        reason: String,
    },
    /// Lines are being dropped. Only subscribers get this event, because the log cannot be written.
    LogStalled {
        reason: String,
    },
    /// Lines were dropped, and the log is written again.
    LogLinesDropped {
        lines: u64,
        reason: String,
    },
    /// A notification did not reach systemd.
    NotifyFailed {
        /// The address in `NOTIFY_SOCKET`.
        socket: String,
        reason: String,
    },
}

impl Event {
    /// Returns the text for people: event, cause and action.
    pub fn message(&self) -> String {
        match self {
            Self::Ready { listeners, workers, takes_changes, took } => format!(
                "Ready after {:.1} ms: {} on {}{}",
                took.as_secs_f64() * 1e3,
                counted(*workers, "worker"),
                listeners.join(", "),
                if *takes_changes { "" } else { "; pixeldctl can only read: no admin socket" }
            ),
            Self::ConfigRejected { faults } => {
                format!("Configuration rejected, pixeld does not start: {}", numbered(faults))
            }
            Self::ConfigLoaded { files } => format!("Configuration read from {}", files.join(", ")),
            Self::ConfigDeprecated { warnings } => {
                format!("Configuration has deprecated keys: {}", numbered(warnings))
            }
            Self::SocketRejected { name, reason } => {
                format!("Inherited socket {name:?} rejected: {reason}")
            }
            Self::SocketFailed { reason } | Self::OsError { reason } | Self::Panicked { reason } => {
                reason.clone()
            }
            Self::Reloaded { changed, needs_restart, by } => reloaded(changed, needs_restart, by),
            Self::ReloadFailed { faults, by } => {
                format!("Reload by {by} failed, configuration unchanged: {}", numbered(faults))
            }
            Self::WorkerStarted { worker, cause: "" } => format!("Worker {worker} started"),
            Self::WorkerStarted { worker, cause } => format!("Worker {worker} started: {cause}"),
            Self::WorkerExited { worker, cause, moved, left } => {
                let fates = [(*moved, "moved to other workers"), (*left, "handed off to the next process")];
                with_fates(format!("Worker {worker} exited: {cause}"), &fates)
            }
            Self::WorkerStalled { worker, since } => {
                format!("Worker {worker} stalled: no progress for {} s; its requests wait", since.as_secs())
            }
            Self::ProcessPaused { since } => format!(
                "Process did not run for {:.1} s, requests waited; possible causes: SIGSTOP, frozen cgroup or \
                 virtual machine, no CPU time",
                since.as_secs_f64()
            ),
            Self::WorkersSet { from, to, is_override, by } => {
                overridden("Workers", from, to, *is_override, by)
            }
            Self::LogLevelSet { from, to, is_override, by } => {
                overridden("Log level", &from.name(), &to.name(), *is_override, by)
            }
            Self::Drained { by } => {
                format!("Drain switched on by {by}: new requests get 503 until `pixeldctl resume`")
            }
            Self::Resumed { by } => format!("Drain switched off by {by}: requests are served again"),
            Self::DrainedAtStart { by } => format!(
                "Drain still on: {by} switched it on before this start; requests get 503 until `pixeldctl resume`"
            ),
            Self::CountersReset { reason } => {
                format!("Counters reset to 0, those of the previous process cannot be used: {reason}")
            }
            Self::LimitReached { limit, is_short_of_files, peer, held } => {
                limit_reached(*limit, *is_short_of_files, peer, *held)
            }
            Self::FdLimitTooLow { files, limit, wanted } => format!(
                "Connection limit reduced to {limit} (limits.connections = {wanted}): open-file limit is {files}; \
                 raise LimitNOFILE="
            ),
            Self::LogStalled { reason } => format!("Log stalled, lines are dropped: {reason}"),
            Self::AcceptPaused { socket, reason } => {
                format!("Accepting paused at {socket}: {reason}; new clients of this socket wait")
            }
            Self::AcceptResumed { socket } => format!("Accepting resumed at {socket}"),
            Self::RequestRejected { status, reason, .. } => {
                format!("Request rejected with {status}: {reason}")
            }
            Self::Disconnected { reason, .. } => format!("Connection closed: {reason}"),
            Self::ControlFailed { client, reason } => control_failed(client, reason),
            Self::Stopping { cause, open } => {
                format!("Stopping because of {cause}: {} open", counted(*open, "connection"))
            }
            Self::Stopped { requests, handed_over, cut_off, cut_off_because, took } => {
                stopped(*requests, *handed_over, (*cut_off, cut_off_because), *took)
            }
            Self::ConnectionsAdopted { connections } => {
                format!("Adopted {} from the previous process", counted(*connections, "connection"))
            }
            Self::AdoptFailed { connections: 0, reason } => {
                format!("Connections of the previous process closed: {reason}")
            }
            Self::AdoptFailed { connections, reason } => {
                format!("{} of the previous process closed: {reason}", counted(*connections, "connection"))
            }
            Self::HandoffFailed { connections, is_at_once, reason } => {
                let connections = counted(*connections, "connection");
                let when = if *is_at_once { "at once" } else { "after the requests in progress" };
                format!("Handoff to the next process failed: {reason}; closing {connections} {when}")
            }
            Self::LogLinesDropped { lines, reason } => {
                format!("{} dropped: {reason}", counted(*lines, "log line"))
            }
            Self::NotifyFailed { socket, reason } => {
                format!("Cannot notify systemd at {socket} (NOTIFY_SOCKET): {reason}")
            }
        }
    }
}

fn reloaded(changed: &[String], needs_restart: &[String], by: &Caller) -> String {
    let changed =
        if changed.is_empty() { "nothing changed since the last reload".into() } else { changed.join(", ") };
    let mut text = format!("Reloaded by {by}: {changed}");
    if !needs_restart.is_empty() {
        text += &format!("; takes effect only at the next restart: {}", needs_restart.join(", "));
    }
    text
}

/// Joins lines about the configuration with their numbers. The last line may be `and 60 more`, which gets none.
fn numbered(lines: &[String]) -> String {
    if let [line] = lines {
        return line.clone();
    }
    let number = |(line, n): (&String, usize)| {
        if line.starts_with("and ") { line.clone() } else { format!("({n}) {line}") }
    };
    lines.iter().zip(1..).map(number).collect::<Vec<_>>().join("; ")
}

/// Describes a runtime override, or its end.
fn overridden(what: &str, from: &dyn Display, to: &dyn Display, is_override: bool, by: &Caller) -> String {
    if is_override {
        format!("{what} set from {from} to {to} by {by}")
    } else {
        format!("{what} reset from {from} to {to}, the configured value, by {by}")
    }
}

/// Appends each number of connections that is not 0, with its fate.
fn with_fates(mut text: String, fates: &[(u64, &str)]) -> String {
    for (connections, fate) in fates.iter().filter(|(connections, _)| *connections > 0) {
        text += &format!(", {} {fate}", counted(*connections, "connection"));
    }
    text
}

fn stopped(requests: u64, handed_over: u64, (cut, reason): (u64, &str), took: Duration) -> String {
    let (seconds, responses) = (took.as_secs_f64(), counted(requests, "response"));
    let text = format!("Stopped: shutdown took {seconds:.1} s; {responses} since the start");
    let cut_off = format!("cut off because {reason}");
    with_fates(text, &[(handed_over, "handed off to the next process"), (cut, &cut_off)])
}

/// Describes the end of a control connection of a client such as `control:4711`.
fn control_failed(client: &str, reason: &str) -> String {
    match client.split_once(':') {
        Some((socket, pid)) => format!("Connection to {socket} socket from PID {pid} closed: {reason}"),
        None => format!("Connection to {client} socket closed: {reason}"),
    }
}

fn limit_reached(limit: Option<usize>, is_short_of_files: bool, peer: &str, held: usize) -> String {
    let peer = if peer == "unix" { "all clients on Unix sockets" } else { peer };
    let reached = match limit {
        Some(limit) if is_short_of_files => format!("Connection limit reached ({limit}, from LimitNOFILE=)"),
        Some(limit) => format!("Connection limit reached (limits.connections = {limit})"),
        None => "File descriptors or memory ran out".into(),
    };
    format!(
        "{reached}: for each new connection, pixeld closes a connection of the peer with the most connections, if \
         possible an idle one; this peer is now: {peer} ({})",
        counted(held, "connection")
    )
}

/// Returns a number with its noun: `1 request`, `2 requests`.
pub fn counted(n: impl TryInto<u64>, what: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
