use nix::sys::resource::{Resource, getrlimit};

/// The open-file limit (RLIMIT_NOFILE), and its division between connections and other uses. Connections get the
/// descriptors that are not reserved, so that they cannot lock an operator out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdBudget(usize);

impl FdBudget {
    /// The most clients of a control socket.
    const CONTROL_CLIENTS: usize = 64;
    /// Reserved for listeners, log, notifications, and files that are read for a short time.
    const RESERVED: usize = 64;
    /// Reserved for the runtime of each worker.
    const PER_WORKER: usize = 4;

    /// Reads the present soft limit of this process.
    pub fn from_rlimit() -> Self {
        // getrlimit(2) cannot fail for this resource.
        let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        Self(usize::try_from(soft).unwrap_or(usize::MAX))
    }

    pub fn limit(self) -> usize {
        self.0
    }

    /// Returns the most clients of each control socket.
    pub fn control_clients(self) -> usize {
        (self.0 / 16).clamp(1, Self::CONTROL_CLIENTS)
    }

    /// Returns the most connections with this number of workers. It is at least one.
    pub fn connections(self, workers: usize) -> usize {
        let reserved = (self.0 / 4).min(Self::RESERVED);
        let kept = reserved + 2 * self.control_clients() + Self::PER_WORKER * workers;
        self.0.saturating_sub(kept).max(1)
    }

    /// Returns the number of descriptors that a start opens: for signals, control sockets and counters, and for each
    /// worker.
    pub fn for_start(workers: usize) -> usize {
        14 + Self::PER_WORKER * workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_fd_limit_allows_http_and_control() {
        assert_eq!((FdBudget(128).connections(2), FdBudget(128).control_clients()), (72, 8));
        assert_eq!((FdBudget(3).connections(2), FdBudget(3).control_clients()), (1, 1));
    }
}
