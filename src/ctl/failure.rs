use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
};

use crate::{
    control::{CallError, ControlError},
    exit::Exit,
};

/// Why a command did not do what it should: a message, a hint and an exit code for each.
#[derive(Debug)]
pub enum Failure {
    /// None of these sockets has a daemon behind it.
    NoDaemon(Vec<PathBuf>),
    /// The socket is there, and this user may not connect to it.
    NoPermission(PathBuf),
    /// Connecting failed in another way.
    Connect(PathBuf, io::Error),
    /// The daemon did not answer as it should.
    Call(CallError),
    /// The result cannot be written to stdout.
    Output(io::Error),
    /// The operating system refused something of this program's own.
    Os(io::Error),
}

impl Failure {
    /// Tells the user, and says how to exit.
    pub fn tell(&self) -> Exit {
        // Whoever reads the output has seen enough.
        let is_closed_pipe = matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe);
        if !is_closed_pipe {
            let hint = self.hint().map_or_else(String::new, |hint| format!("hint: {hint}\n"));
            // Where nobody can be told, the code still tells.
            let _ = write!(io::stderr(), "pixeldctl: {self}\n{hint}");
        }
        self.exit()
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoDaemon(_) => Exit::Unavailable,
            Self::NoPermission(_) => Exit::NoPerm,
            // Its backlog is full.
            Self::Connect(_, error) if error.kind() == io::ErrorKind::WouldBlock => Exit::TempFail,
            Self::Connect(..) => Exit::Unavailable,
            Self::Output(_) => Exit::IoErr,
            Self::Os(_) => Exit::OsErr,
            Self::Call(CallError::Refused(error)) => match error {
                ControlError::NotPermitted { .. } => Exit::NoPerm,
                ControlError::InvalidValue { .. } => Exit::DataErr,
                ControlError::InvalidConfiguration { .. } => Exit::Config,
                ControlError::Failed { .. } => Exit::OsErr,
                ControlError::Stopping => Exit::TempFail,
            },
            Self::Call(CallError::Connect(_)) => Exit::Unavailable,
            Self::Call(CallError::TimedOut(_)) => Exit::TempFail,
            Self::Call(CallError::Unknown(_) | CallError::Protocol(_)) => Exit::Protocol,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoDaemon(_) => {
                Some("start it with `systemctl start pixeld`, or name its socket with --socket".into())
            }
            Self::NoPermission(path) => {
                let group = if path.ends_with("admin.sock") { "pixeld-admin" } else { "pixeld" };
                Some(format!("use sudo, or `sudo usermod -aG {group} $USER` and log in again"))
            }
            Self::Call(CallError::Refused(ControlError::NotPermitted { socket })) => {
                Some(format!("leave --socket out, or use --socket {socket}"))
            }
            Self::Call(CallError::Refused(ControlError::InvalidConfiguration { .. })) => {
                Some("nothing was changed; mend the files, try `pixeld --check`, then reload again".into())
            }
            Self::Call(CallError::Unknown(_)) => Some(
                "pixeldctl and pixeld may be of different versions: restart pixeld after an upgrade".into(),
            ),
            Self::Call(CallError::Protocol(_)) => Some("is this the socket of a pixeld?".into()),
            Self::Call(CallError::TimedOut(_)) => {
                Some("the daemon is stuck or very busy: see `systemctl status pixeld`".into())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDaemon(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "pixeld is not running: nobody listens at {}", paths.join(" or "))
            }
            Self::Connect(path, error) => write!(f, "cannot connect to {}: {error}", path.display()),
            Self::NoPermission(path) => write!(f, "you may not connect to {}", path.display()),
            Self::Call(CallError::Refused(ControlError::InvalidConfiguration { faults })) => {
                write!(f, "the configuration is refused\n{}", faults.join("\n"))
            }
            Self::Call(error) => error.fmt(f),
            Self::Output(error) => write!(f, "the result cannot be written: {error}"),
            Self::Os(error) => error.fmt(f),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}
