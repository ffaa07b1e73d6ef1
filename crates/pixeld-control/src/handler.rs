use std::{fmt, sync::Arc};

use serde::Serialize;
use tokio::net::unix::UCred;

use super::types::{
    ConfigReply, ControlError, DrainReply, EventInfo, Level, ReloadReply, ResumeReply, SetLogLevelReply,
    SetWorkersReply, StatsReply, WatchEventsReply, WorkersReply,
};

/// What the interface does, wherever its clients are served.
pub trait ControlHandler {
    /// The events that follow a subscription.
    type Events: EventSource;

    /// Answers a method that only reads.
    ///
    /// # Errors
    /// When the daemon ends meanwhile.
    fn read(&self, query: Query) -> impl Future<Output = Result<Arc<Snapshot>, ControlError>>;
    /// Makes a change.
    ///
    /// # Errors
    /// As the method's description says; nothing has changed then.
    fn change(
        &self,
        change: Change,
        caller: PeerCredentials,
    ) -> impl Future<Output = Result<Changed, ControlError>>;
    /// The last events, and those that follow.
    fn events(&self) -> (Vec<EventInfo>, Self::Events);
    /// Reports what went wrong with a client or with the socket. Has to return at once.
    fn report(&self, fault: ServerFault);
}

/// The events that follow a subscription.
pub trait EventSource: fmt::Debug {
    /// Waits for one event, and takes along those that are there by then. May be dropped while it waits.
    fn next(&mut self) -> impl Future<Output = WatchEventsReply>;
}

/// What went wrong with a client or with the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFault {
    /// A client sent something that is no call, or did not take a reply.
    Client {
        /// The socket and the client's process, such as `control:4711`.
        client: String,
        /// What is wrong.
        reason: String,
    },
    /// No client can be accepted at present. Reported once until one is accepted.
    Accept {
        /// The socket, and what the system said.
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
        /// Whether only to say what would change.
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

/// Who called, as far as it can be seen: in a user namespace others' users are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCredentials {
    /// The process.
    pub pid: u32,
    /// The user.
    pub uid: u32,
    /// What the caller says of itself.
    pub claim: Claim,
}

/// What a client says of itself with Identify. Nothing of it is checked; it is escaped and shortened.
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
        /// What a user outside the daemon's namespace looks like (user_namespaces(7)).
        const OVERFLOW_UID: u32 = 65534;

        match self.uid {
            0 => write!(f, "root (pid {})", self.pid),
            OVERFLOW_UID => write!(f, "pid {}", self.pid),
            uid => write!(f, "uid {uid} (pid {})", self.pid),
        }
    }
}
