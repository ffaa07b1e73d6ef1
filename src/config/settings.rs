use std::{num::NonZeroUsize, thread::available_parallelism, time::Duration};

use crate::{
    control,
    log::{Level, Target},
    net::Address,
};

/// The valid values of all keys. pixeld.toml(5) describes each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub workers: Workers,
    pub listen: Listen,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub pixel: PixelSettings,
    pub log: LogSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// One for each CPU that the daemon may use.
    Auto,
    Count(NonZeroUsize),
}

/// Addresses of sockets that the service manager did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    pub http: Vec<Address>,
    /// The control socket for reading; a Unix address.
    pub control: Address,
    /// The control socket for changing; a Unix address.
    pub admin: Address,
}

/// Limits for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body: usize,
    /// Bytes of a request's header section.
    pub header: usize,
    /// Open connections, all workers together.
    pub connections: usize,
    /// Requests on one connection.
    pub requests_per_connection: usize,
}

/// Maximum times for clients, and for a shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request to the end of its header section.
    pub header: Duration,
    /// From the end of the header section to the end of the body.
    pub body: Duration,
    /// Until the client has taken its response.
    pub write: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
    /// Until all requests are complete when the daemon stops.
    pub drain: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PixelSettings {
    /// Status of the response to a `value` outside 0..=255: 200, 400 or 422.
    pub range_error_status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub level: Level,
    pub target: Target,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: Workers::Auto,
            listen: Listen {
                http: vec![Address::Tcp(([127, 0, 0, 1], 8000).into())],
                control: Address::Unix("/run/pixeld/control.sock".into()),
                admin: Address::Unix("/run/pixeld/admin.sock".into()),
            },
            limits: Limits {
                body: 16 << 10,
                header: 16 << 10,
                connections: 10_000,
                requests_per_connection: 100_000,
            },
            timeouts: Timeouts {
                header: Duration::from_secs(10),
                body: Duration::from_secs(10),
                write: Duration::from_secs(10),
                keep_alive: Duration::from_secs(75),
                drain: Duration::from_secs(30),
            },
            pixel: PixelSettings { range_error_status: 422 },
            log: LogSettings { level: Level::Info, target: Target::Auto },
        }
    }
}

impl Workers {
    pub const MAX: usize = control::MAX_WORKERS;

    /// Returns the number of threads. `auto` counts the CPUs of the affinity mask, within the CPU quota of the
    /// cgroup.
    pub fn count(self) -> usize {
        match self {
            Self::Count(count) => count.get(),
            Self::Auto => available_parallelism().map_or(1, NonZeroUsize::get).min(Self::MAX),
        }
    }
}
