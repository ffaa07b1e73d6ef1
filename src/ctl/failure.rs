use std::{
    ffi::OsString,
    fmt,
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use super::place::Place;
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
    /// The daemon does not take connections any more.
    ConnectTimedOut(PathBuf, Duration),
    /// The daemon did not answer as it should.
    Call(CallError),
    /// The program that goes to other hosts cannot be run.
    NoSsh(OsString, io::Error),
    /// What was run on another host has ended.
    There {
        /// As ssh was told.
        host: String,
        /// Its exit status, unless it was killed.
        code: Option<i32>,
        /// What it said.
        message: String,
    },
    /// One of several places has this.
    At(String, Box<Failure>),
    /// The result cannot be written to stdout.
    Output(io::Error),
    /// The result cannot be written to this file.
    Write(PathBuf, io::Error),
    /// systemd does not have this unit active.
    Inactive(String),
    /// systemd did not say whether it has a unit active.
    Systemctl {
        /// The unit.
        unit: String,
        /// What systemctl said.
        reason: String,
    },
    /// The operating system refused something of this program's own.
    Os(io::Error),
}

/// All that went wrong, at one place or at several; never none.
#[derive(Debug)]
pub struct Failures(Vec<Failure>);

impl Failures {
    /// `Ok` where there is none.
    ///
    /// # Errors
    /// All of them.
    pub fn all(failures: impl Iterator<Item = Failure>) -> Result<(), Self> {
        let failures: Vec<_> = failures.collect();
        if failures.is_empty() { Ok(()) } else { Err(Self(failures)) }
    }

    /// Tells the user, and says how to exit: as the first one wants.
    pub fn tell(&self) -> Exit {
        let exits: Vec<_> = self.0.iter().map(Failure::tell).collect();
        exits.first().copied().unwrap_or(Exit::OsErr)
    }
}

impl<F: Into<Failure>> From<F> for Failures {
    fn from(failure: F) -> Self {
        Self(vec![failure.into()])
    }
}

/// What ssh exits with when it could not connect, and a shell when there is no such program.
const SSH_FAILED: i32 = 255;
const NO_SUCH_PROGRAM: i32 = 127;

impl Failure {
    /// The same, with the place where it happened.
    pub fn at(self, place: &Place) -> Self {
        match self {
            // It names the host itself.
            Self::There { .. } => self,
            failure => Self::At(place.to_string(), failure.into()),
        }
    }

    /// Whether the daemon just does not run.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::NoDaemon(_) | Self::Inactive(_) => true,
            Self::There { code, .. } => *code == Some(Exit::Unavailable as i32),
            _ => false,
        }
    }

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
            Self::NoDaemon(_) | Self::Inactive(_) => Exit::Unavailable,
            Self::NoPermission(_) => Exit::NoPerm,
            // Its backlog is full.
            Self::Connect(_, error) if error.kind() == io::ErrorKind::WouldBlock => Exit::TempFail,
            Self::Connect(..) => Exit::Unavailable,
            Self::ConnectTimedOut(..) => Exit::TempFail,
            Self::NoSsh(..) | Self::Systemctl { .. } => Exit::OsErr,
            Self::There { code, .. } => code.and_then(Exit::from_code).unwrap_or(Exit::Unavailable),
            Self::At(_, failure) => failure.exit(),
            Self::Output(_) | Self::Write(..) => Exit::IoErr,
            Self::Os(_) => Exit::OsErr,
            Self::Call(error) => match error {
                CallError::Refused(error) => match error {
                    ControlError::NotPermitted { .. } => Exit::NoPerm,
                    ControlError::InvalidValue { .. } => Exit::DataErr,
                    ControlError::InvalidConfiguration { .. } => Exit::Config,
                    ControlError::Failed { .. } => Exit::OsErr,
                    ControlError::Busy { .. } | ControlError::Stopping => Exit::TempFail,
                },
                CallError::Connect(_) => Exit::Unavailable,
                CallError::TimedOut(_) | CallError::Closed => Exit::TempFail,
                CallError::Unknown(_) | CallError::Protocol(_) => Exit::Protocol,
            },
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoDaemon(_) => {
                "start it with `systemctl start pixeld`, or name its socket with --socket".into()
            }
            Self::NoPermission(path) => {
                let group = if path.ends_with("admin.sock") { "pixeld-admin" } else { "pixeld" };
                format!("use sudo, or `sudo usermod -aG {group} $USER` and log in again")
            }
            Self::ConnectTimedOut(..) | Self::Call(CallError::TimedOut(_)) => {
                "the daemon is stuck or very busy: see `systemctl status pixeld`".into()
            }
            Self::Inactive(unit) => format!("start it with `systemctl start {unit}`"),
            Self::Write(..) => "its folder has to exist, and this user to be allowed to write there".into(),
            Self::Systemctl { .. } => "leave --if-active out where systemd does not run pixeld".into(),
            Self::NoSsh(..) => "install the package openssh-client".into(),
            Self::There { host, code: Some(SSH_FAILED), .. } => format!("try `ssh {host} true`"),
            Self::There { host, code: Some(NO_SUCH_PROGRAM), .. } => {
                format!("install pixeld on {host}, with pixeldctl in the PATH that ssh has there")
            }
            Self::At(_, failure) => failure.hint()?,
            Self::Call(CallError::Refused(error)) => match error {
                ControlError::NotPermitted { socket, .. } => {
                    format!("leave --socket out, or use --socket {socket}")
                }
                ControlError::InvalidConfiguration { .. } => {
                    "nothing was changed; mend the files, try `pixeld --check`, then reload again".into()
                }
                ControlError::Busy { .. } => "wait until that is done, and try again".into(),
                _ => return None,
            },
            Self::Call(CallError::Unknown(_)) => {
                "pixeldctl and pixeld may be of different versions: restart pixeld after an upgrade".into()
            }
            Self::Call(CallError::Closed) => {
                "it may have restarted: try again; or is this not the socket of a pixeld?".into()
            }
            Self::Call(CallError::Protocol(_)) => "is this the socket of a pixeld?".into(),
            _ => return None,
        })
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
            Self::ConnectTimedOut(path, limit) => {
                let limit = humantime::format_duration(*limit);
                write!(f, "{} took no connection within {limit}", path.display())
            }
            Self::NoPermission(path) => write!(f, "you may not connect to {}", path.display()),
            Self::Call(CallError::Refused(ControlError::InvalidConfiguration { faults })) => {
                write!(f, "the configuration is refused\n{}", faults.join("\n"))
            }
            Self::Call(error) => error.fmt(f),
            Self::NoSsh(program, error) => write!(f, "cannot run {}: {error}", program.display()),
            Self::There { host, code: Some(NO_SUCH_PROGRAM), .. } => {
                write!(f, "{host}: there is no pixeldctl")
            }
            Self::There { host, message, .. } if message.is_empty() => {
                write!(f, "{host}: ssh ended without a word")
            }
            Self::There { host, message, .. } => {
                write!(f, "{host}: {}", message.strip_prefix("pixeldctl: ").unwrap_or(message))
            }
            Self::At(place, failure) => write!(f, "{place}: {failure}"),
            Self::Output(error) => write!(f, "the result cannot be written: {error}"),
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            Self::Inactive(unit) => write!(f, "pixeld is not running: {unit} is not active"),
            Self::Systemctl { unit, reason } => {
                write!(f, "systemctl does not say whether {unit} is active: {reason}")
            }
            Self::Os(error) => error.fmt(f),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}
