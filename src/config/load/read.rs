//! Reads the text of a configuration file.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    unistd::{AccessFlags, User, access, geteuid},
};

use super::error::{ConfigError, line_after};
use crate::sanitize;

/// Reads a regular file. A pipe, a device or a socket is an error, because reading one may block or never end.
pub fn read(path: &Path) -> Result<String, ConfigError> {
    let bytes = read_bytes(path).map_err(|error| unreadable(path, &error))?;
    decode(path, bytes)
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    /// Far above the length of any configuration.
    const MAX_LEN: u64 = 1 << 20;

    // O_NOCTTY: a terminal does not become the controlling terminal.
    let nonblocking = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LEN {
        Err(io::Error::other("longer than 1 MiB, the limit of a configuration file"))
    } else {
        Ok(bytes)
    }
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<String, ConfigError> {
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        // In UTF-16, one of the two bytes of an ASCII character is NUL.
        let is_utf_16 = bytes.starts_with(&[0xff, 0xfe])
            || bytes.starts_with(&[0xfe, 0xff])
            || bytes.iter().filter(|byte| **byte == 0).count() * 4 >= bytes.len();
        let message = if is_utf_16 {
            "this is UTF-16: save the file as UTF-8"
        } else {
            "this line has a NUL byte: the file is damaged or not text"
        };
        return Err(ConfigError::new(path, Some(line_after(&bytes[..at])), None, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let message = "this line is not UTF-8: save the file as UTF-8";
        ConfigError::new(path, Some(line_after(valid)), None, message)
    })
}

/// Returns the error of a file or a folder that cannot be read.
pub fn unreadable(path: &Path, error: &io::Error) -> ConfigError {
    let reason = match (error.kind(), fs::read_link(path)) {
        // A listing of the folder shows the link, so the message names its target.
        (io::ErrorKind::NotFound, Ok(target)) => {
            format!("link to {}, which does not exist", sanitize::path(&target))
        }
        (io::ErrorKind::PermissionDenied, _) => return forbidden(path, error),
        _ => error.to_string(),
    };
    ConfigError::new(path, None, None, &format!("cannot be read: {reason}"))
}

/// Returns the error if this user may not read a file or a folder, with a command that allows it.
fn forbidden(path: &Path, error: &io::Error) -> ConfigError {
    let uid = geteuid();
    let user = match User::from_uid(uid) {
        Ok(Some(user)) => format!("user {} (uid {uid})", user.name),
        _ => format!("uid {uid}"),
    };
    // The outermost folder that this user cannot enter, if there is one.
    let mut folders: Vec<_> =
        path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
    folders.reverse();
    let closed = folders.into_iter().find(|folder| access(*folder, AccessFlags::X_OK) == Err(Errno::EACCES));
    let (mode, target) = match closed {
        Some(folder) => ("a+x", folder),
        None if path.is_dir() => ("a+rx", path),
        None => ("a+r", path),
    };
    let target = sanitize::path(target);
    let message = format!("cannot be read by {user}: {error}; to allow it: chmod {mode} '{target}'");
    ConfigError::new(path, None, None, &message)
}
