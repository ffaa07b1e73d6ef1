use std::{path::PathBuf, time::Duration};

use pixeld_control::{CallError, ControlClient, ControlError, Stats};

use super::{
    finding::USE_SUDO,
    host_facts::{Probe, Unavailable},
};
use crate::{
    args::Purpose, control_connection::ControlConnection, error::CommandError, host_target::HostTarget,
    service_state::FailedService,
};

/// The replies of the daemon.
#[derive(Debug, Clone, PartialEq)]
pub struct DaemonFacts {
    pub stats: Stats,
    pub configured_workers: u64,
}

/// Why there are no replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonError {
    NotRunning(String),
    /// systemd reports that it has failed.
    Failed(FailedService),
    NoPermission(String),
    /// It runs, but its replies are missing or invalid.
    Unusable(String),
}

/// Queries the daemon at the named socket, or that of this host.
pub async fn ask(socket: Option<PathBuf>, limit: Duration) -> Result<DaemonFacts, DaemonError> {
    let facts = call(socket, Purpose::Read, limit, async |client| {
        Ok(DaemonFacts {
            stats: client.stats().await?,
            configured_workers: client.workers().await?.configured,
        })
    });
    facts.await.map_err(|error| {
        let reason = error.to_string();
        match error {
            CommandError::NoDaemon(_) => DaemonError::NotRunning(reason),
            CommandError::ServiceFailed(service) => DaemonError::Failed(service),
            CommandError::NoPermission(_) => DaemonError::NoPermission(reason),
            _ => DaemonError::Unusable(reason),
        }
    })
}

/// Asks the daemon for the faults of the configuration files as they are now. It reads them as its own user and
/// in its sandbox, and changes nothing.
pub async fn configuration_faults(socket: Option<PathBuf>, limit: Duration) -> Probe<Vec<String>> {
    match call(socket, Purpose::Change, limit, async |client| client.reload(true).await).await {
        Ok(_) => Ok(Vec::new()),
        Err(CommandError::Call(CallError::Refused(ControlError::InvalidConfiguration { faults }))) => {
            Ok(faults)
        }
        Err(error @ CommandError::NoPermission(_)) => Err(Unavailable(format!("{error}: {USE_SUDO}"))),
        Err(error) => Err(Unavailable(error.to_string())),
    }
}

async fn call<R>(
    socket: Option<PathBuf>,
    purpose: Purpose,
    limit: Duration,
    query: impl AsyncFn(&mut ControlClient) -> Result<R, CallError>,
) -> Result<R, CommandError> {
    ControlConnection::open(&HostTarget::Local { socket }, purpose, limit).await?.call(query).await
}
