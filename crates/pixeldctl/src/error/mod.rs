mod hint;
mod message;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use pixeld_control::{CallError, ControlError, ServiceInfo, exit::Exit, sanitize};

use super::{host_target::HostTarget, service_state::FailedService};

/// Why a command did not do what it should: a message, a hint and an exit code for each.
#[derive(Debug)]
pub enum CommandError {
    /// None of these sockets has a daemon behind it.
    NoDaemon(Vec<PathBuf>),
    /// systemd runs the daemon, which has failed.
    ServiceFailed(FailedService),
    /// None of these sockets has, but one beside them.
    OtherSocket {
        tried: Vec<PathBuf>,
        control: PathBuf,
        /// Where it takes changes, if it says so.
        admin: Option<PathBuf>,
    },
    /// The daemon that answers at this socket has none for changing.
    ReadOnly(PathBuf),
    /// The socket is there, and this user may not connect to it.
    NoPermission(PathBuf),
    /// What was named is something else.
    NotASocket(PathBuf),
    /// Connecting failed in another way.
    Connect(PathBuf, io::Error),
    /// The daemon does not take connections any more.
    ConnectTimedOut(PathBuf, Duration),
    /// The daemon did not answer as it should.
    Call(CallError),
    /// One side did not understand the other, and this is what the other side calls itself.
    Incompatible(CallError, ServiceInfo),
    /// The daemon is drained, and so many requests are in flight after this time.
    InFlight(u64, Duration),
    /// The program that goes to other hosts cannot be run.
    NoSsh(OsString, io::Error),
    /// What was run on another host has failed.
    Remote {
        /// Its exit status, unless it was killed.
        code: Option<i32>,
        /// What was said there, by ssh, by the host or by the pixeldctl there.
        message: String,
    },
    /// The place that was named has this.
    AtHost(HostTarget, Box<CommandError>),
    /// There is no terminal that `top` could be shown on, for this reason.
    NoScreen(String),
    /// `top` is for people.
    TopAsJson,
    /// The result cannot be written to stdout.
    Output(io::Error),
    /// The result cannot be written to this file.
    Write(PathBuf, io::Error),
    /// systemd does not have this unit active.
    Inactive(String),
    /// systemd did not say whether it has a unit active.
    Systemctl { unit: String, reason: String },
    /// The operating system refused something of this program's own.
    Os(io::Error),
}

/// All that went wrong, at one place or at several; never none.
#[derive(Debug, Default)]
pub struct CommandErrors {
    pending: Vec<CommandError>,
    /// What the first of those wants that were told already.
    exit: Option<Exit>,
}

impl CommandErrors {
    /// `Ok` where there is none.
    ///
    /// # Errors
    /// All of them.
    pub fn all(errors: impl Iterator<Item = CommandError>) -> Result<(), Self> {
        let pending: Vec<_> = errors.collect();
        if pending.is_empty() { Ok(()) } else { Err(Self { pending, exit: None }) }
    }

    /// Tells the user of one that is not the end yet.
    pub fn report_now(&mut self, error: &CommandError) {
        let exit = error.report();
        self.exit.get_or_insert(exit);
    }

    /// Tells the user, and says how to exit: as the first one wants.
    pub fn report(&self) -> Exit {
        let exits: Vec<_> = self.pending.iter().map(CommandError::report).collect();
        self.exit.or(exits.first().copied()).unwrap_or(Exit::OsErr)
    }
}

impl<F: Into<CommandError>> From<F> for CommandErrors {
    fn from(error: F) -> Self {
        Self { pending: vec![error.into()], exit: None }
    }
}

/// What a shell exits with when there is no such program.
const NO_SUCH_PROGRAM: i32 = 127;
/// What a pixeldctl exits with that is older than -H.
const NOT_UNDERSTOOD: i32 = Exit::Usage as i32;

impl CommandError {
    /// The same, with the place where it happened.
    pub fn at(self, target: &HostTarget) -> Self {
        Self::AtHost(target.clone(), self.into())
    }

    /// Whether nobody can be shown anything any more.
    pub fn is_output_error(&self) -> bool {
        matches!(self, Self::Output(_))
    }

    /// Whether this may be over in a moment, where it was well before: the daemon or its host restarts.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoDaemon(_) | Self::ServiceFailed(_) | Self::Connect(..) | Self::ConnectTimedOut(..) => {
                true
            }
            Self::Remote { code, .. } => !matches!(code, Some(NO_SUCH_PROGRAM | NOT_UNDERSTOOD)),
            Self::Call(error) => {
                matches!(error, CallError::Closed | CallError::Connect(_) | CallError::TimedOut(_))
            }
            _ => false,
        }
    }

    /// Whether the daemon just does not run.
    pub fn is_not_running(&self) -> bool {
        match self {
            Self::NoDaemon(_) | Self::ServiceFailed(_) | Self::Inactive(_) => true,
            Self::Remote { code, .. } => *code == Some(Exit::Unavailable as i32),
            _ => false,
        }
    }

    /// Tells the user, and says how to exit.
    pub fn report(&self) -> Exit {
        // Whoever reads the output has seen enough.
        let is_closed_pipe = matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe);
        if !is_closed_pipe {
            let hint = self.hint().map_or_else(String::new, |hint| format!("hint: {hint}\n"));
            // Where nobody can be told, the code still tells.
            let text = sanitize::lines(&format!("pixeldctl: {self}\n{hint}"));
            let _ = io::stderr().write_all(text.as_bytes());
        }
        self.exit()
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoDaemon(_)
            | Self::ServiceFailed(_)
            | Self::OtherSocket { .. }
            | Self::ReadOnly(_)
            | Self::Inactive(_) => Exit::Unavailable,
            Self::NoPermission(_) => Exit::NoPerm,
            Self::NotASocket(_) => Exit::Usage,
            // Its backlog is full.
            Self::Connect(_, error) if error.kind() == io::ErrorKind::WouldBlock => Exit::TempFail,
            Self::Connect(..) => Exit::Unavailable,
            Self::ConnectTimedOut(..) | Self::InFlight(..) => Exit::TempFail,
            Self::NoSsh(..) | Self::Systemctl { .. } => Exit::OsErr,
            Self::Remote { code: Some(NOT_UNDERSTOOD), .. } => Exit::Protocol,
            Self::Remote { code, .. } => code.and_then(Exit::from_code).unwrap_or(Exit::Unavailable),
            Self::AtHost(_, error) => error.exit(),
            Self::Output(_) | Self::Write(..) => Exit::IoErr,
            Self::NoScreen(_) | Self::TopAsJson => Exit::Usage,
            Self::Os(_) => Exit::OsErr,
            Self::Incompatible(..) => Exit::Protocol,
            Self::Call(error) => match error {
                CallError::Refused(error) => match error {
                    ControlError::NotPermitted { .. } => Exit::NoPerm,
                    ControlError::InvalidValue { .. } => Exit::DataErr,
                    ControlError::InvalidConfiguration { .. } => Exit::Config,
                    ControlError::Failed { .. } => Exit::OsErr,
                    ControlError::Busy { .. }
                    | ControlError::Stopping
                    | ControlError::TooManyClients { .. } => Exit::TempFail,
                },
                CallError::Connect(_) => Exit::Unavailable,
                CallError::TimedOut(_) | CallError::ChangeTimedOut(_) | CallError::Closed => Exit::TempFail,
                CallError::Unknown(_) | CallError::Protocol(_) => Exit::Protocol,
            },
        }
    }
}

impl From<CallError> for CommandError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}
