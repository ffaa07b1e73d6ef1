use std::{path::PathBuf, time::Duration};

use pixeld_control::{Attribution, CallError, ControlClient, ControlError, ServiceState};

use super::{
    finding::USE_SUDO,
    host_facts::{Probe, Unavailable},
};
use crate::{
    args::Purpose, control_connection::ControlConnection, error::CommandError, host_target::HostTarget,
    service_state::FailedService,
};

/// What the daemon says of itself over its control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonFacts {
    pub version: String,
    pub pid: u32,
    /// Whether it answers every request with 503.
    pub is_drained: bool,
    pub drained_by: Option<Attribution>,
    pub uptime: Duration,
    pub listeners: Vec<String>,
    /// Those of them at which it cannot accept connections, each with the reason.
    pub accept_errors: Vec<String>,
    /// `limits.connections`
    pub connection_limit: u64,
    /// How many of those the limit of open files allows.
    pub effective_limit: u64,
    pub workers: u64,
    /// Workers that the configuration asks for.
    pub configured_workers: u64,
    /// Log lines that it has dropped.
    pub log_lines_dropped: u64,
}

/// Why the daemon says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonError {
    /// It does not run.
    NotRunning(String),
    /// systemd runs it, and it has failed.
    Failed(FailedService),
    /// This user may not ask it.
    NoPermission(String),
    /// It runs, and does not answer as it should.
    Unusable(String),
}

/// Asks the daemon at the socket that was named, or the one of this host.
pub async fn ask(socket: Option<PathBuf>, limit: Duration) -> Result<DaemonFacts, DaemonError> {
    let answer = async {
        let mut connection =
            ControlConnection::open(&HostTarget::Local { socket }, Purpose::Read, limit).await?;
        match facts(&mut connection).await {
            Ok(facts) => Ok(facts),
            Err(error) => Err(connection.explain(error).await),
        }
    };
    answer.await.map_err(|error: CommandError| {
        let reason = error.to_string();
        match error {
            CommandError::NoDaemon(_) => DaemonError::NotRunning(reason),
            CommandError::ServiceFailed(service) => DaemonError::Failed(service),
            CommandError::NoPermission(_) => DaemonError::NoPermission(reason),
            _ => DaemonError::Unusable(reason),
        }
    })
}

/// Asks the daemon for the faults of the configuration files as they are now. It reads them as its own user,
/// inside of its sandbox, and changes nothing.
pub async fn configuration_faults(socket: Option<PathBuf>, limit: Duration) -> Probe<Vec<String>> {
    let reply = async {
        let mut connection =
            ControlConnection::open(&HostTarget::Local { socket }, Purpose::Change, limit).await?;
        match connection.reload(true).await {
            Ok(reply) => Ok(reply),
            Err(error) => Err(connection.explain(error).await),
        }
    };
    match reply.await {
        Ok(_) => Ok(Vec::new()),
        Err(CommandError::Call(CallError::Refused(ControlError::InvalidConfiguration { faults }))) => {
            Ok(faults)
        }
        Err(error @ CommandError::NoPermission(_)) => Err(Unavailable(format!("{error}: {USE_SUDO}"))),
        Err(error) => Err(Unavailable(error.to_string())),
    }
}

async fn facts(client: &mut ControlClient) -> Result<DaemonFacts, CallError> {
    let stats = client.stats().await?;
    let workers = client.workers().await?;
    Ok(DaemonFacts {
        version: stats.process.version,
        pid: stats.process.pid,
        is_drained: stats.state == ServiceState::Drained,
        drained_by: stats.drained_by,
        uptime: Duration::from_millis(stats.process.uptime_ms),
        listeners: stats.listeners,
        accept_errors: stats.accept_errors,
        connection_limit: stats.connections.limit,
        effective_limit: stats.connections.effective_limit,
        workers: stats.workers,
        configured_workers: workers.configured,
        log_lines_dropped: stats.log_lines_dropped,
    })
}
