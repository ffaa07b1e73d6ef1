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
    /// What was named is something else.
    NotASocket(PathBuf),
    /// Connecting failed in another way.
    Connect(PathBuf, io::Error),
    /// The daemon does not take connections any more.
    ConnectTimedOut(PathBuf, Duration),
    /// The daemon did not answer as it should.
    Call(CallError),
    /// The program that goes to other hosts cannot be run.
    NoSsh(OsString, io::Error),
    /// What was run on another host has failed.
    There {
        /// Its exit status, unless it was killed.
        code: Option<i32>,
        /// What was said there, by ssh, by the host or by the pixeldctl there.
        message: String,
    },
    /// The place that was named has this.
    At(Place, Box<Failure>),
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
#[derive(Debug, Default)]
pub struct Failures {
    untold: Vec<Failure>,
    /// What the first of those wants that were told already.
    exit: Option<Exit>,
}

impl Failures {
    /// `Ok` where there is none.
    ///
    /// # Errors
    /// All of them.
    pub fn all(failures: impl Iterator<Item = Failure>) -> Result<(), Self> {
        let untold: Vec<_> = failures.collect();
        if untold.is_empty() { Ok(()) } else { Err(Self { untold, exit: None }) }
    }

    /// Tells the user of one that is not the end yet.
    pub fn tell_now(&mut self, failure: &Failure) {
        let exit = failure.tell();
        self.exit.get_or_insert(exit);
    }

    /// Tells the user, and says how to exit: as the first one wants.
    pub fn tell(&self) -> Exit {
        let exits: Vec<_> = self.untold.iter().map(Failure::tell).collect();
        self.exit.or(exits.first().copied()).unwrap_or(Exit::OsErr)
    }
}

impl<F: Into<Failure>> From<F> for Failures {
    fn from(failure: F) -> Self {
        Self { untold: vec![failure.into()], exit: None }
    }
}

/// What ssh exits with when it could not connect, and a shell when there is no such program.
const SSH_FAILED: i32 = 255;
const NO_SUCH_PROGRAM: i32 = 127;
/// What a pixeldctl exits with that is older than -H.
const NOT_UNDERSTOOD: i32 = Exit::Usage as i32;
/// What `pixeldctl bridge` exits with.
const NO_DAEMON: i32 = Exit::Unavailable as i32;
const NO_PERMISSION: i32 = Exit::NoPerm as i32;

impl Failure {
    /// The same, with the place where it happened.
    pub fn at(self, place: &Place) -> Self {
        Self::At(place.clone(), self.into())
    }

    /// Whether nobody can be shown anything any more.
    pub fn is_of_output(&self) -> bool {
        matches!(self, Self::Output(_))
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
            Self::NotASocket(_) => Exit::Usage,
            // Its backlog is full.
            Self::Connect(_, error) if error.kind() == io::ErrorKind::WouldBlock => Exit::TempFail,
            Self::Connect(..) => Exit::Unavailable,
            Self::ConnectTimedOut(..) => Exit::TempFail,
            Self::NoSsh(..) | Self::Systemctl { .. } => Exit::OsErr,
            Self::There { code: Some(NOT_UNDERSTOOD), .. } => Exit::Protocol,
            Self::There { code, .. } => code.and_then(Exit::from_code).unwrap_or(Exit::Unavailable),
            Self::At(_, failure) => failure.exit(),
            Self::Output(_) | Self::Write(..) => Exit::IoErr,
            Self::NoScreen(_) | Self::TopAsJson => Exit::Usage,
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
            Self::At(Place::There(host), failure) => {
                failure.hint_for(host).map_or_else(|| failure.hint(), Some)?
            }
            Self::At(_, failure) => failure.hint()?,
            Self::NoScreen(_) => "use `pixeldctl stats --watch 1`, which prints line after line".into(),
            Self::TopAsJson => "use `pixeldctl stats --watch 1 --json`".into(),
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

    /// What helps where this happened on another host.
    fn hint_for(&self, host: &str) -> Option<String> {
        if host.starts_with('-') {
            // To anybody who tried it by hand, it would be an option of ssh.
            return None;
        }
        Some(match self {
            Self::There { code: Some(SSH_FAILED), .. } => format!("try `ssh {host} true`"),
            Self::There { code: Some(NO_SUCH_PROGRAM), .. } => {
                format!("install pixeld on {host}, with pixeldctl in the PATH that ssh has there")
            }
            Self::There { code: Some(NOT_UNDERSTOOD), .. } => {
                format!("install the same version of pixeld on {host} and here")
            }
            Self::There { code: Some(NO_DAEMON), .. } => {
                format!("start it there: `ssh {host} sudo systemctl start pixeld`")
            }
            Self::There { code: Some(NO_PERMISSION), message } => {
                let group = if message.contains("admin.sock") { "pixeld-admin" } else { "pixeld" };
                format!("log in as root there, or as a member of the group {group}")
            }
            Self::Call(CallError::TimedOut(_)) => {
                format!("try `ssh {host} true`, and there `systemctl status pixeld`")
            }
            Self::Call(CallError::Protocol(_)) => {
                format!("`ssh {host} true` must print nothing: look into the shell's start-up files there")
            }
            _ => return None,
        })
    }
}

/// What matters of the words that came from another host: neither what the host greets everybody with,
/// nor advice for people who are there.
fn heart(message: &str) -> String {
    const NAME: &str = "pixeldctl: ";

    let lines: Vec<_> = message.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let ours = lines.iter().position(|line| line.starts_with(NAME));
    let lines = lines[ours.unwrap_or(0)..].iter().filter(|line| !line.starts_with("hint: "));
    let lines: Vec<_> = lines.map(|line| line.strip_prefix(NAME).unwrap_or(line)).collect();
    lines.join("\n")
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
            Self::NotASocket(path) => write!(f, "{} is not a socket", path.display()),
            Self::NoPermission(path) => write!(f, "you may not connect to {}", path.display()),
            Self::Call(CallError::Refused(ControlError::InvalidConfiguration { faults })) => {
                write!(f, "the configuration is refused\n{}", faults.join("\n"))
            }
            Self::Call(error) => error.fmt(f),
            Self::NoSsh(program, error) => write!(f, "cannot run {}: {error}", program.display()),
            Self::There { code: Some(NO_SUCH_PROGRAM), .. } => f.write_str("there is no pixeldctl"),
            Self::There { code: Some(NOT_UNDERSTOOD), message } => {
                f.write_str(heart(message).lines().next().unwrap_or("the command is not understood"))
            }
            Self::There { code, message } => match (heart(message), code) {
                (message, Some(code)) if message.is_empty() => {
                    write!(f, "ssh ended without a word, with status {code}")
                }
                (message, None) if message.is_empty() => f.write_str("ssh ended without a word"),
                (message, _) => f.write_str(&message),
            },
            Self::At(place, failure) => write!(f, "{place}: {failure}"),
            Self::NoScreen(reason) => write!(f, "top has no terminal to show itself on: {reason}"),
            Self::TopAsJson => f.write_str("top shows a screen for people, and has no JSON to print"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_another_host_says_only_the_heart_is_shown() {
        let greeted = "*** Authorized users only ***\r\n\r\npixeldctl: it is so\nand so\nhint: sit down\n";
        assert_eq!(heart(greeted), "it is so\nand so");
        let by_ssh = "ssh: connect to host t2 port 22: No route to host\r\n";
        assert_eq!(heart(by_ssh), "ssh: connect to host t2 port 22: No route to host");
        assert_eq!(heart("\n"), "");
    }
}
