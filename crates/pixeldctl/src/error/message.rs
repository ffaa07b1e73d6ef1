use std::{fmt, io, path::PathBuf};

use pixeld_control::{CallError, ControlError, VERSION};

use super::{CommandError, NO_SUCH_PROGRAM, NOT_UNDERSTOOD};
use crate::render::counted;

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDaemon(paths) => {
                write!(f, "pixeld is not running: nobody listens at {}", either(paths))
            }
            Self::ServiceFailed(service) => service.fmt(f),
            Self::InFlight(requests, limit) => {
                let (requests, limit) = (counted(*requests, "request"), humantime::format_duration(*limit));
                write!(f, "drained, and {requests} in flight after {limit}")
            }
            Self::OtherSocket { tried, control, admin } => {
                write!(f, "nobody listens at {}; pixeld answers at {}", either(tried), control.display())?;
                match admin {
                    Some(admin) => write!(f, ", and takes changes at {}", admin.display()),
                    None => Ok(()),
                }
            }
            Self::ReadOnly(control) => {
                write!(f, "pixeld at {} has no admin socket, and takes no changes", control.display())
            }
            Self::Connect(path, error) if error.kind() == io::ErrorKind::WouldBlock => {
                write!(f, "{} takes no connection: too many wait there already", path.display())
            }
            Self::Connect(path, error) => write!(f, "cannot connect to {}: {error}", path.display()),
            Self::ConnectTimedOut(path, limit) => {
                let limit = humantime::format_duration(*limit);
                write!(f, "{} took no connection within {limit}", path.display())
            }
            Self::NotASocket(path) => write!(f, "{} is not a socket", path.display()),
            Self::NoPermission(path) => write!(f, "you may not connect to {}", path.display()),
            Self::Call(CallError::Refused(ControlError::InvalidConfiguration { faults })) => {
                write!(f, "the configuration is rejected\n{}", faults.join("\n"))
            }
            Self::Call(error) => error.fmt(f),
            Self::Incompatible(error, daemon) => {
                write!(f, "{error} ({} {}, pixeldctl {VERSION})", daemon.product, daemon.version)
            }
            Self::NoSsh(program, error) => write!(f, "cannot run {}: {error}", program.display()),
            Self::Remote { code: Some(NO_SUCH_PROGRAM), .. } => f.write_str("there is no pixeldctl"),
            Self::Remote { code: Some(NOT_UNDERSTOOD), message } => {
                f.write_str(heart(message).lines().next().unwrap_or("the command is not understood"))
            }
            Self::Remote { code, message } => match (heart(message), code) {
                (message, Some(code)) if message.is_empty() => {
                    write!(f, "ssh ended without a word, with status {code}")
                }
                (message, None) if message.is_empty() => f.write_str("ssh ended without a word"),
                (message, _) => f.write_str(&message),
            },
            Self::AtHost(target, error) => write!(f, "{target}: {error}"),
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

fn either(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(" or ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_error_is_shown_without_its_frame() {
        let greeted = "*** Authorized users only ***\r\n\r\npixeldctl: it is so\nand so\nhint: sit down\n";
        assert_eq!(heart(greeted), "it is so\nand so");
        let by_ssh = "ssh: connect to host t2 port 22: No route to host\r\n";
        assert_eq!(heart(by_ssh), "ssh: connect to host t2 port 22: No route to host");
        assert_eq!(heart("\n"), "");
    }
}
