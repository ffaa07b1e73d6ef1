use std::fmt;

use zlink::introspect::ReplyError;

/// Why a method of io.pixeld.Control did nothing.
#[derive(Debug, Clone, PartialEq, Eq, zlink::ReplyError, ReplyError)]
#[zlink(interface = "io.pixeld.Control")]
pub enum ControlError {
    /// This socket is for reading; the one that is named here is for changing.
    NotPermitted {
        /// The path of the socket that is for changing; null if the daemon has none.
        socket: Option<String>,
        /// The group whose members may connect to it; null where it has none of its own.
        group: Option<String>,
    },
    /// A parameter has a value that cannot be.
    InvalidValue {
        /// The parameter.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another call changes the same thing at the moment.
    Busy {
        /// That call.
        method: String,
    },
    /// The configuration has faults, and nothing was changed.
    InvalidConfiguration {
        /// The first 20 faults, each with its file, line and key; a last entry says how many more there are.
        faults: Vec<String>,
    },
    /// The operating system refused.
    Failed {
        /// What was attempted, and what the system said.
        reason: String,
    },
    /// The daemon is stopping.
    Stopping,
    /// The connection is closed, because the socket serves no more clients and others were active later.
    TooManyClients {
        /// How many clients the socket serves.
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
