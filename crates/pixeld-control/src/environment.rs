//! The environment variables that both programs read. No other module reads any, so that the manual lists them
//! all.

use std::{env, ffi::OsString};

/// An environment variable. An empty one counts as unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable(&'static str);

macro_rules! variables {
    ($($(#[$doc:meta])* $name:ident)*) => { $(
        $(#[$doc])*
        pub const $name: Variable = Variable(stringify!($name));
    )* };
}

variables! {
    /// With `CLICOLOR_FORCE`, whether to colour; read by anstream, too.
    CLICOLOR
    /// Colour files and pipes.
    CLICOLOR_FORCE
    /// Device and inode of the connection to the journal (systemd.exec(5)).
    JOURNAL_STREAM
    /// The locale, with the next two.
    LANG
    /// The locale.
    LC_ALL
    /// The locale's characters.
    LC_CTYPE
    /// The number of passed descriptors; read by sd-notify.
    LISTEN_FDS
    /// Their names; read by sd-notify.
    LISTEN_FDNAMES
    /// The process that they are for; read by sd-notify, too.
    LISTEN_PID
    /// The notification socket of the service manager.
    NOTIFY_SOCKET
    /// Colour nothing; read by anstream, too.
    NO_COLOR
    /// Where programs are.
    PATH
    /// The control socket.
    PIXELDCTL_SOCKET
    /// The program to run in place of ssh.
    PIXELDCTL_SSH
    /// The user who has called sudo.
    SUDO_USER
    /// The kind of terminal.
    TERM
    /// The time zone; read by jiff.
    TZ
    /// The process that the watchdog is for; read by sd-notify.
    WATCHDOG_PID
    /// The watchdog's timeout; read by sd-notify.
    WATCHDOG_USEC
    /// The user's runtime directory.
    XDG_RUNTIME_DIR
}

/// Those that pixeld reads.
pub const PIXELD: &[Variable] = &[
    JOURNAL_STREAM,
    LISTEN_FDNAMES,
    LISTEN_FDS,
    LISTEN_PID,
    NO_COLOR,
    NOTIFY_SOCKET,
    TERM,
    WATCHDOG_PID,
    WATCHDOG_USEC,
];

/// Those that pixeldctl reads.
pub const PIXELDCTL: &[Variable] = &[
    CLICOLOR,
    CLICOLOR_FORCE,
    LANG,
    LC_ALL,
    LC_CTYPE,
    NO_COLOR,
    PATH,
    PIXELDCTL_SOCKET,
    PIXELDCTL_SSH,
    SUDO_USER,
    TERM,
    TZ,
    XDG_RUNTIME_DIR,
];

#[expect(clippy::disallowed_methods, reason = "this is where all other modules get them from")]
impl Variable {
    /// Its name.
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Returns its value.
    pub fn get(self) -> Option<OsString> {
        env::var_os(self.0).filter(|value| !value.is_empty())
    }

    /// Returns its value if that is valid Unicode.
    pub fn text(self) -> Option<String> {
        env::var(self.0).ok().filter(|value| !value.is_empty())
    }
}
