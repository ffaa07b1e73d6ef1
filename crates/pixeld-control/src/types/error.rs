use std::fmt;

use zlink::introspect::ReplyError;

/// An error reply of io.pixeld.Control.
#[derive(Debug, Clone, PartialEq, Eq, zlink::ReplyError, ReplyError)]
#[zlink(interface = "io.pixeld.Control")]
pub enum ControlError {
    /// The socket is for reading only.
    NotPermitted {
        /// Path of the socket for changes; null if the daemon has none.
        socket: Option<String>,
        /// Group whose members may connect to it; null if it has none of its own.
        group: Option<String>,
    },
    /// The value of a parameter is invalid.
    InvalidValue {
        /// Name of the parameter.
        field: String,
        /// The reason, with the valid values.
        reason: String,
    },
    /// Another client is making the same change.
    Busy {
        /// The method of that client.
        method: String,
    },
    /// The configuration is invalid, and nothing was changed.
    InvalidConfiguration {
        /// The first 20 errors, each with file, line and key; the last entry counts the others.
        faults: Vec<String>,
    },
    /// An operation of the system failed, and nothing was changed.
    Failed {
        /// The operation and its error.
        reason: String,
    },
    /// The daemon is stopping and accepts no changes.
    Stopping,
    /// A new client has replaced this one, which was inactive longest. The daemon closes the connection after
    /// this reply, which can arrive without a call.
    TooManyClients {
        /// Number of clients that the socket serves.
        limit: u64,
    },
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted { socket: None, .. } => {
                f.write_str("this socket is for reading, and the daemon has no admin socket")
            }
            Self::NotPermitted { socket: Some(socket), group } => {
                write!(f, "this socket is for reading; changing is done over {socket}")?;
                group.as_ref().map_or(Ok(()), |group| write!(f, ", by members of the group {group}"))
            }
            Self::InvalidValue { field, reason } => write!(f, "{field}: {reason}"),
            Self::Busy { method } => write!(f, "a call of {method} is changing the same at the moment"),
            Self::InvalidConfiguration { faults } => f.write_str(&faults.join("\n")),
            Self::Failed { reason } => f.write_str(reason),
            Self::Stopping => f.write_str("the daemon is stopping"),
            Self::TooManyClients { limit } => {
                write!(
                    f,
                    "the daemon closed the connection: its socket serves {limit} clients, and another came"
                )
            }
        }
    }
}

impl std::error::Error for ControlError {}
