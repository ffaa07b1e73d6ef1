use std::fmt;

use tokio::net::unix::UCred;

use super::types::{
    ControlError, Drained, LogLevelSet, Reloaded, Resumed, Settings, Stats, Workers, WorkersSet,
};
use crate::log::Level;

/// What the interface does, whoever does it. Reading never fails and never waits.
pub trait Operator {
    /// GetStats.
    fn stats(&self) -> Stats;
    /// GetWorkers.
    fn workers(&self) -> Workers;
    /// GetConfig.
    fn config(&self) -> Settings;
    /// SetWorkers; `None` means as configured.
    ///
    /// # Errors
    /// When the daemon is stopping, another call is at it, or the operating system has no more
    /// threads.
    fn set_workers(
        &self,
        count: Option<usize>,
        caller: Caller,
    ) -> impl Future<Output = Result<WorkersSet, ControlError>>;
    /// Reload.
    ///
    /// # Errors
    /// When the configuration has faults, is not read in time, or the daemon is stopping.
    fn reload(&self, dry_run: bool, caller: Caller) -> impl Future<Output = Result<Reloaded, ControlError>>;
    /// SetLogLevel; `None` means as configured.
    ///
    /// # Errors
    /// When the daemon is stopping.
    fn set_log_level(&self, level: Option<Level>, caller: Caller) -> Result<LogLevelSet, ControlError>;
    /// Drain.
    ///
    /// # Errors
    /// When the daemon is stopping.
    fn drain(&self, caller: Caller) -> Result<Drained, ControlError>;
    /// Resume.
    ///
    /// # Errors
    /// When the daemon is stopping.
    fn resume(&self, caller: Caller) -> Result<Resumed, ControlError>;
}

/// Who called, as far as it can be seen: in a user namespace others' users are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The process.
    pub pid: u32,
    /// The user.
    pub uid: u32,
}

impl From<UCred> for Caller {
    fn from(credentials: UCred) -> Self {
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        Self { pid: pid.unwrap_or(0), uid: credentials.uid() }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// What a user outside the daemon's namespace looks like (user_namespaces(7)).
        const OVERFLOW_UID: u32 = 65534;

        match self.uid {
            0 => write!(f, "root (pid {})", self.pid),
            OVERFLOW_UID => write!(f, "pid {}", self.pid),
            uid => write!(f, "uid {uid} (pid {})", self.pid),
        }
    }
}
