use std::{fmt, sync::Arc};

use serde::Serialize;
use tokio::net::unix::UCred;

use super::types::{
    ConfigReply, ControlError, DrainReply, EventInfo, Level, ReloadReply, ResumeReply, SetLogLevelReply,
    SetWorkersReply, StatsReply, WatchEventsReply, WorkersReply,
};

/// The implementation of the interface, which [`serve`](crate::serve) calls.
pub trait ControlHandler {
    /// The events that follow a subscription.
    type Events: EventSource;

    /// Returns the reply to a method that only reads.
    ///
    /// # Errors
    /// [`ControlError::Stopping`] if the daemon ends meanwhile.
    fn read(&self, query: Query) -> impl Future<Output = Result<Arc<Snapshot>, ControlError>>;
    /// Makes a change.
    ///
    /// # Errors
    /// Those of the method's description; nothing is changed then.
    fn change(
        &self,
        change: Change,
        caller: PeerCredentials,
    ) -> impl Future<Output = Result<Changed, ControlError>>;
    /// Returns recent events, and a subscription to those that follow.
    fn events(&self) -> (Vec<EventInfo>, Self::Events);
    /// Reports a fault of a client or of the socket. Must not block.
    fn report(&self, fault: ServerFault);
}

/// The events that follow a subscription.
pub trait EventSource: fmt::Debug {
    /// Waits for an event; returns all that are pending then. Cancel safe.
    fn next(&mut self) -> impl Future<Output = WatchEventsReply>;
}

/// A fault of a client or of the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFault {
    /// A client sent an invalid call, or did not read a reply.
    Client {
        /// The socket and the client's process, such as `control:4711`.
        client: String,
        /// The fault.
        reason: String,
    },
    /// No client can be accepted. Reported once until one is accepted.
    Accept {
        /// The socket, such as `control socket`.
        socket: String,
        /// The error.
        reason: String,
    },
}

/// A method that only reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// GetStats, and each response to WatchStats.
    Stats,
    /// GetWorkers.
    Workers,
    /// GetConfig.
    Config,
}

/// The response to a [`Query`].
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Snapshot {
    /// To GetStats and WatchStats.
    Stats(Box<StatsReply>),
    /// To GetWorkers.
    Workers(WorkersReply),
    /// To GetConfig.
    Config(ConfigReply),
}

/// A method that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// SetWorkers; `None` means as configured.
    Workers(Option<usize>),
    /// Reload.
    Reload {
        /// Whether to report changes without applying them.
        dry_run: bool,
    },
    /// SetLogLevel; `None` means as configured.
    LogLevel(Option<Level>),
    /// Drain.
    Drain,
    /// Resume.
    Resume,
}

/// The response to a [`Change`].
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Changed {
    /// To SetWorkers.
    Workers(SetWorkersReply),
    /// To Reload.
    Reloaded(ReloadReply),
    /// To SetLogLevel.
    LogLevel(SetLogLevelReply),
    /// To Drain.
    Drained(DrainReply),
    /// To Resume.
    Resumed(ResumeReply),
}

/// The caller. In a user namespace, users outside it are not visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCredentials {
    /// The process.
    pub pid: u32,
    /// The user.
    pub uid: u32,
    /// The claim of the caller.
    pub claim: Claim,
}

/// The claim that a client sends with Identify: escaped and shortened, not verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// The name of its user.
    pub user: Option<String>,
    /// Its command line.
    pub command: Option<String>,
}

impl From<UCred> for PeerCredentials {
    fn from(credentials: UCred) -> Self {
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        Self { pid: pid.unwrap_or(0), uid: credentials.uid(), claim: Claim::default() }
    }
}

impl fmt::Display for PeerCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The user ID of users outside the daemon's namespace (user_namespaces(7)).
        const OVERFLOW_UID: u32 = 65534;

        match self.uid {
            0 => write!(f, "root (pid {})", self.pid),
            OVERFLOW_UID => write!(f, "pid {}", self.pid),
            uid => write!(f, "uid {uid} (pid {})", self.pid),
        }
    }
}
