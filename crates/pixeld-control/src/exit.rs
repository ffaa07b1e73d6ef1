use std::{
    io::{self, Write},
    process::ExitCode,
};

/// The exit codes of sysexits.h, which systemd names in its messages (`status=78/CONFIG`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success.
    Ok = 0,
    /// `pixeldctl doctor` has found a warning or a problem; not a code of sysexits.h.
    Unwell = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The daemon rejected a value.
    DataErr = 65,
    /// The daemon is not running.
    Unavailable = 69,
    /// An error of the program itself.
    Software = 70,
    /// A system call failed.
    OsErr = 71,
    /// Reading or writing failed.
    IoErr = 74,
    /// The other side did not respond in time; a retry may succeed.
    TempFail = 75,
    /// The response of the other side is invalid.
    Protocol = 76,
    /// The caller lacks a permission.
    NoPerm = 77,
    /// The configuration is invalid, or one of its sockets is missing.
    Config = 78,
}

impl Exit {
    /// All codes, by number.
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::Unwell,
        Self::Usage,
        Self::DataErr,
        Self::Unavailable,
        Self::Software,
        Self::OsErr,
        Self::IoErr,
        Self::TempFail,
        Self::Protocol,
        Self::NoPerm,
        Self::Config,
    ];

    /// Returns the failure with this number, if sysexits.h has it.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().skip_while(|exit| *exit != Self::Usage).find(|exit| *exit as i32 == code)
    }

    /// Returns the exit code after printing the help, or the fault of a command line that `is_wrong`.
    pub fn after_usage(program: &str, printed: io::Result<()>, is_wrong: bool) -> Self {
        match printed {
            // The exit code reports it, even if stderr is closed.
            _ if is_wrong => Self::Usage,
            Ok(()) => Self::Ok,
            Err(error) => {
                // The reader may have seen enough.
                if error.kind() != io::ErrorKind::BrokenPipe {
                    // If stderr is closed, the code still reports it.
                    let _ = writeln!(io::stderr(), "{program}: the result cannot be written: {error}");
                }
                Self::IoErr
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
