use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Why a program ends, as sysexits.h numbers it. systemd names these codes in its own messages
/// (`status=78/CONFIG`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Ok = 0,
    /// `pixeldctl doctor` has found something wrong with the host; no code of sysexits.h.
    Unwell = 1,
    /// The command line is wrong.
    Usage = 64,
    /// A value was rejected by the daemon.
    DataErr = 65,
    /// The daemon is not there.
    Unavailable = 69,
    /// An error of the program itself.
    Software = 70,
    /// The operating system refused something that should have worked.
    OsErr = 71,
    /// Reading or writing failed.
    IoErr = 74,
    /// The other side did not answer in time; trying again may help.
    TempFail = 75,
    /// The other side answered something that it should not.
    Protocol = 76,
    /// The caller is not allowed to.
    NoPerm = 77,
    /// The configuration is wrong, or a socket that it promises is missing.
    Config = 78,
}

impl Exit {
    /// All of them, by their numbers.
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

    /// The failure of this number, if it is one of sysexits.h.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().skip_while(|exit| *exit != Self::Usage).find(|exit| *exit as i32 == code)
    }

    /// The exit code after an attempt to print what the command line asked for, such as its help, or what
    /// `is_wrong` with it.
    pub fn after_usage(program: &str, printed: io::Result<()>, is_wrong: bool) -> Self {
        match printed {
            // The code reports it as well.
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
