//! The fields of an event, for searching the log.

use super::{caller::Caller, event::Event};

macro_rules! fields {
    ($($name:ident)*) => {
        /// The fields of an event; `None` if a field does not apply.
        #[derive(Debug, Default, PartialEq, Eq)]
        pub struct Fields {
            $(pub $name: Option<String>,)*
        }

        impl Fields {
            /// All names, which the journal has in upper case.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// Returns the value of each, in the order of [`Self::NAMES`].
            pub fn values(&self) -> impl Iterator<Item = Option<&str>> {
                [$(self.$name.as_deref()),*].into_iter()
            }

            /// Returns the names and values of the fields that apply.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
                Self::NAMES.iter().zip(self.values()).filter_map(|(name, value)| Some((*name, value?)))
            }
        }
    };
}

fields! {
    worker client status reason by uid pid claimed_user claimed_command from to workers connections limit wanted requests moved handed_off cut_off lines
}

/// Creates fields from variables with the same names.
macro_rules! of {
    ($($name:ident),+ $(; ..$rest:expr)?) => {
        Fields { $($name: Some($name.to_string()),)+ ..of!(@rest $($rest)?) }
    };
    (@rest) => { Fields::default() };
    (@rest $rest:expr) => { $rest };
}

impl From<&Caller> for Fields {
    fn from(by: &Caller) -> Self {
        match by {
            Caller::Signal(_) => of!(by),
            Caller::Client(client) => Self {
                by: Some(by.to_string()),
                uid: client.visible_uid().map(|uid| uid.to_string()),
                pid: Some(client.pid.to_string()),
                claimed_user: client.claimed_user.clone(),
                claimed_command: client.claimed_command.clone(),
                ..Self::default()
            },
        }
    }
}

impl Event {
    /// Returns the number of the worker that the event concerns.
    pub fn worker(&self) -> Option<usize> {
        self.fields().worker?.parse().ok()
    }

    pub fn fields(&self) -> Fields {
        match self {
            Self::Ready { workers, .. } => of!(workers),
            Self::ConfigRejected { faults } => {
                let reason = faults.join("\n");
                of!(reason)
            }
            Self::ReloadFailed { faults, by } => {
                let reason = faults.join("\n");
                of!(reason; ..by.into())
            }
            Self::SocketRejected { reason, .. }
            | Self::SocketFailed { reason }
            | Self::OsError { reason }
            | Self::CountersReset { reason }
            | Self::Panicked { reason }
            | Self::LogStalled { reason }
            | Self::NotifyFailed { reason, .. } => of!(reason),
            Self::AcceptPaused { socket, reason } => {
                let reason = format!("{socket}: {reason}");
                of!(reason)
            }
            Self::Reloaded { by, .. }
            | Self::Drained { by }
            | Self::Resumed { by }
            | Self::DrainedAtStart { by } => by.into(),
            Self::WorkerStarted { worker, .. } | Self::WorkerStalled { worker, .. } => of!(worker),
            Self::WorkerExited { worker, cause: reason, moved, left: handed_off, .. } => {
                of!(worker, reason, moved, handed_off)
            }
            Self::WorkersSet { from, to, by, .. } => of!(from, to; ..by.into()),
            Self::LogLevelSet { from, to, by, .. } => {
                let (from, to) = (from.name(), to.name());
                of!(from, to; ..by.into())
            }
            Self::LimitReached { limit, peer: client, held: connections, .. } => {
                let limit = limit.map(|limit| limit.to_string());
                Fields { limit, ..of!(client, connections) }
            }
            Self::FdLimitTooLow { limit, wanted, .. } => of!(limit, wanted),
            Self::RequestRejected { worker, client, status, reason } => of!(worker, client, status, reason),
            Self::Disconnected { worker, client, reason } => of!(worker, client, reason),
            Self::ControlFailed { client, reason } => of!(client, reason),
            Self::Stopping { cause: reason, open: connections } => of!(reason, connections),
            Self::Stopped { requests, handed_over: handed_off, cut_off, .. } => {
                of!(requests, handed_off, cut_off)
            }
            Self::ConnectionsAdopted { connections } => of!(connections),
            Self::AdoptFailed { connections, reason } | Self::HandoffFailed { connections, reason, .. } => {
                of!(connections, reason)
            }
            Self::LogLinesDropped { lines, reason } => of!(lines, reason),
            Self::ConfigLoaded { .. }
            | Self::ConfigDeprecated { .. }
            | Self::ProcessPaused { .. }
            | Self::AcceptResumed { .. } => Fields::default(),
        }
    }
}
