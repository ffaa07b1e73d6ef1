mod hint;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use humantime::format_duration;
use pixeld_control::{CallError, ControlError, ServiceInfo, VERSION, exit::Exit, sanitize};

use super::{host_target::HostTarget, service_state::FailedService};

/// Why a command failed: a message, a hint and an exit code for each case.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No daemon has one of these sockets.
    #[error("pixeld is not running: no process listens at {}", either(.0))]
    NoDaemon(Vec<PathBuf>),
    #[error("{0}")]
    ServiceFailed(FailedService),
    /// No daemon has one of these sockets, but one has another socket beside them.
    #[error("no process listens at {}; pixeld responds at {}{}", either(.tried), .control.display(), changes_at(.admin.as_ref()))]
    OtherSocket {
        tried: Vec<PathBuf>,
        control: PathBuf,
        /// The daemon's own socket for changes, if it reports one.
        admin: Option<PathBuf>,
    },
    #[error("pixeld at {} has no admin socket, so it accepts no changes", .0.display())]
    ReadOnly(PathBuf),
    #[error("no permission to connect to {}", .0.display())]
    NoPermission(PathBuf),
    #[error("{} is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The backlog of the socket is full.
    #[error("{} accepts no connection: its queue is full", .0.display())]
    QueueFull(PathBuf),
    #[error("cannot connect to {}: {}", .0.display(), .1)]
    Connect(PathBuf, io::Error),
    #[error("{} accepted no connection within {}", .0.display(), format_duration(*.1))]
    ConnectTimedOut(PathBuf, Duration),
    #[error("{}", call(.0))]
    Call(#[from] CallError),
    /// Either side did not understand the other one, which reports this name and version.
    #[error("{} ({} {}, pixeldctl {VERSION})", .0, .1.product, .1.version)]
    Incompatible(CallError, ServiceInfo),
    /// This many requests are in flight after this time, and the daemon is drained.
    #[error("{} {} in flight after {}; the daemon stays drained", .0, requests(*.0), format_duration(*.1))]
    InFlight(u64, Duration),
    #[error("cannot run {}: {}", .0.display(), .1)]
    NoSsh(OsString, io::Error),
    /// ssh, or pixeldctl on the other host, failed.
    #[error("{}", remote(*.code, .message))]
    Remote {
        /// The exit status, unless a signal ended ssh.
        code: Option<i32>,
        /// The output of ssh, of the host or of the pixeldctl there.
        message: String,
    },
    #[error("{0}: {1}")]
    AtHost(HostTarget, Box<CommandError>),
    #[error("top needs a terminal: {0}")]
    NoScreen(String),
    #[error("top has no JSON output")]
    TopAsJson,
    #[error("the result cannot be written: {0}")]
    Output(io::Error),
    #[error("cannot write {}: {}", .0.display(), .1)]
    Write(PathBuf, io::Error),
    #[error("pixeld is not running: {0} is not active")]
    Inactive(String),
    #[error("systemctl does not report whether {unit} is active: {reason}")]
    Systemctl { unit: String, reason: String },
    /// A system call of pixeldctl itself failed.
    #[error("{0}")]
    Os(io::Error),
}

fn requests(count: u64) -> &'static str {
    if count == 1 { "request" } else { "requests" }
}

fn either(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

fn changes_at(admin: Option<&PathBuf>) -> String {
    admin.map_or_else(String::new, |admin| format!(", and accepts changes at {}", admin.display()))
}

fn call(error: &CallError) -> String {
    match error {
        CallError::Refused(ControlError::InvalidConfiguration { faults }) => {
            format!("the configuration is rejected\n{}", faults.join("\n"))
        }
        error => error.to_string(),
    }
}

fn remote(code: Option<i32>, message: &str) -> String {
    match (code, without_frame(message)) {
        (Some(NO_SUCH_PROGRAM), _) => "pixeldctl is not installed there".into(),
        (Some(NOT_UNDERSTOOD), message) => {
            message.lines().next().unwrap_or("pixeldctl there rejects the command line").into()
        }
        (Some(code), message) if message.is_empty() => {
            format!("ssh exited with status {code} and no message")
        }
        (None, message) if message.is_empty() => "ssh ended with no message".into(),
        (_, message) => message,
    }
}

/// Returns the error in the output of another host, without the host's greeting and without hints, which are for
/// users of that host.
fn without_frame(message: &str) -> String {
    const NAME: &str = "pixeldctl: ";

    let lines: Vec<_> = message.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let ours = lines.iter().position(|line| line.starts_with(NAME));
    let lines = lines[ours.unwrap_or(0)..].iter().filter(|line| !line.starts_with("hint: "));
    lines.map(|line| line.strip_prefix(NAME).unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The errors of one host or of several; at least one.
#[derive(Debug, Default)]
pub struct CommandErrors {
    pending: Vec<CommandError>,
    /// The exit code of the first error that is reported already.
    exit: Option<Exit>,
}

impl CommandErrors {
    /// Returns `Ok` if there is no error.
    pub fn all(errors: impl Iterator<Item = CommandError>) -> Result<(), Self> {
        let pending: Vec<_> = errors.collect();
        if pending.is_empty() { Ok(()) } else { Err(Self { pending, exit: None }) }
    }

    /// Adds errors to the result of an earlier step.
    pub fn with(before: Result<(), Self>, more: Vec<CommandError>) -> Result<(), Self> {
        let mut errors = before.err().unwrap_or_default();
        errors.pending.extend(more);
        if errors.pending.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Reports an error while the command continues.
    pub fn report_now(&mut self, error: &CommandError) {
        let exit = error.report();
        self.exit.get_or_insert(exit);
    }

    /// Reports all errors; returns the exit code of the first one.
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

/// The exit status of a shell if the program does not exist.
const NO_SUCH_PROGRAM: i32 = 127;
/// The exit status of a pixeldctl that is older than -H.
const NOT_UNDERSTOOD: i32 = Exit::Usage as i32;

impl CommandError {
    pub fn at(self, target: &HostTarget) -> Self {
        Self::AtHost(target.clone(), self.into())
    }

    /// Whether stdout no longer accepts output.
    pub fn is_output_error(&self) -> bool {
        matches!(self, Self::Output(_))
    }

    /// Whether the error may pass if the daemon responded before: the daemon or its host restarts.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoDaemon(_)
            | Self::ServiceFailed(_)
            | Self::QueueFull(_)
            | Self::Connect(..)
            | Self::ConnectTimedOut(..) => true,
            Self::Remote { code, .. } => !matches!(code, Some(NO_SUCH_PROGRAM | NOT_UNDERSTOOD)),
            Self::Call(error) => {
                matches!(error, CallError::Closed | CallError::Connect(_) | CallError::TimedOut(_))
            }
            _ => false,
        }
    }

    pub fn is_not_running(&self) -> bool {
        match self {
            Self::NoDaemon(_) | Self::ServiceFailed(_) | Self::Inactive(_) => true,
            Self::Remote { code, .. } => *code == Some(Exit::Unavailable as i32),
            _ => false,
        }
    }

    /// Writes the error and its hint to stderr; returns the exit code.
    pub fn report(&self) -> Exit {
        // The reader of a pipe closed it because it has seen enough.
        let is_closed_pipe = matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe);
        if !is_closed_pipe {
            let hint = self.hint().map_or_else(String::new, |hint| format!("hint: {hint}\n"));
            let text = sanitize::lines(&format!("pixeldctl: {self}\n{hint}"));
            // If stderr is closed, the exit code still reports the error.
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
            | Self::Connect(..)
            | Self::Inactive(_) => Exit::Unavailable,
            Self::NoPermission(_) => Exit::NoPerm,
            Self::QueueFull(_) | Self::ConnectTimedOut(..) | Self::InFlight(..) => Exit::TempFail,
            Self::Remote { code: Some(NOT_UNDERSTOOD), .. } => Exit::Protocol,
            Self::Remote { code, .. } => code.and_then(Exit::from_code).unwrap_or(Exit::Unavailable),
            Self::AtHost(_, error) => error.exit(),
            Self::Output(_) | Self::Write(..) => Exit::IoErr,
            Self::NotASocket(_) | Self::NoScreen(_) | Self::TopAsJson => Exit::Usage,
            Self::NoSsh(..) | Self::Systemctl { .. } | Self::Os(_) => Exit::OsErr,
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
