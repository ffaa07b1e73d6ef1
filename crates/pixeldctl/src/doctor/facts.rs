//! The facts that several checks need.

use std::{path::PathBuf, time::Duration};

use pixeld_control::{CallError, ControlClient, Stats};
use tokio::join;

use super::{
    host::{Host, Probe},
    nginx::{self, Nginx},
    units::{self, Units},
};
use crate::{
    args::Purpose, control_connection::ControlConnection, error::CommandError, host_target::HostTarget,
    service_state::FailedService,
};

/// A host, and the facts about it that several checks need.
#[derive(Debug)]
pub struct Facts {
    pub host: Host,
    /// The socket of the daemon, if it was named.
    pub socket: Option<PathBuf>,
    pub daemon: Result<DaemonFacts, DaemonError>,
    /// The process of the service that systemd runs.
    pub main_pid: Option<u32>,
    pub units: Probe<Units>,
    pub nginx: Probe<Nginx>,
}

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

impl Facts {
    pub async fn collect(host: Host, socket: Option<PathBuf>) -> Self {
        // Before the daemon is queried, which may start it.
        let units = units::probe(&host).await;
        let (daemon, nginx) = join!(ask(socket.clone(), host.limit), nginx::probe(&host));
        let main_pid = units::main_pid(&host).await;
        Self { host, socket, daemon, main_pid, units, nginx }
    }
}

async fn ask(socket: Option<PathBuf>, limit: Duration) -> Result<DaemonFacts, DaemonError> {
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

/// Queries the daemon at the named socket, or that of this host.
pub async fn call<R>(
    socket: Option<PathBuf>,
    purpose: Purpose,
    limit: Duration,
    query: impl AsyncFn(&mut ControlClient) -> Result<R, CallError>,
) -> Result<R, CommandError> {
    ControlConnection::open(&HostTarget::Local { socket }, purpose, limit).await?.call(query).await
}
