use super::types::ControlError;

/// The permissions of a socket. The mode of its file decides who can connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Only for reading.
    ReadOnly {
        /// The path of the socket for changes.
        admin: Option<String>,
        /// The group whose members may connect to it.
        group: Option<String>,
    },
    /// For reading and changes.
    ReadWrite,
}

impl Access {
    /// Returns the name of the socket.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ReadOnly { .. } => "control",
            Self::ReadWrite => "admin",
        }
    }

    /// Returns the error of a method that changes something, if the socket is read-only.
    pub fn refusal(&self) -> Option<ControlError> {
        match self {
            Self::ReadOnly { admin, group } => {
                Some(ControlError::NotPermitted { socket: admin.clone(), group: group.clone() })
            }
            Self::ReadWrite => None,
        }
    }
}
