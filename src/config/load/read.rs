//! The text of a file, or why there is none.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::fcntl::OFlag;

use super::{Fault, line_after};
use crate::sanitize;

/// Reads a file, and nothing that has no end or makes whoever reads it wait.
pub fn read(path: &Path) -> Result<String, Fault> {
    let bytes = read_bytes(path).map_err(|error| unreadable(path, &error))?;
    decode(path, bytes)
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    /// No configuration is as long.
    const LONGEST: u64 = 1 << 20;

    // A terminal does not become this process's own.
    let nonblocking = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        Err(io::Error::other("it is longer than 1 MiB, the most that a configuration file may have"))
    } else {
        Ok(bytes)
    }
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let message = "it has to be UTF-8, and this line is not".into();
        Fault { path: path.into(), line: Some(line_after(valid)), key: None, message }
    })
}

/// That a file or a folder cannot be read.
pub fn unreadable(path: &Path, error: &io::Error) -> Fault {
    let reason = match (error.kind(), fs::read_link(path)) {
        // The link itself is there, for whoever looks.
        (io::ErrorKind::NotFound, Ok(target)) => {
            format!("it is a link to {}, which is not there", sanitize::path(&target))
        }
        (io::ErrorKind::PermissionDenied, _) => {
            format!("{error} (the user that the daemon runs as has to be able to read it)")
        }
        _ => error.to_string(),
    };
    Fault { path: path.into(), line: None, key: None, message: format!("cannot be read: {reason}") }
}
