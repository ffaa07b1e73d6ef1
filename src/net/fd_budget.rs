use nix::sys::resource::{Resource, getrlimit};

/// The number of files that a process may open (RLIMIT_NOFILE), and its use. Connections get the descriptors
/// that are not reserved for everything else, so that clients never lock an operator out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdBudget(usize);

impl FdBudget {
    /// Clients of a control socket, if descriptors are not short.
    const CONTROL_CLIENTS: usize = 64;
    /// Listeners, log, notifications, files that are read for a moment.
    const RESERVED: usize = 64;
    /// Those of a worker's runtime.
    const PER_WORKER: usize = 4;

    /// The soft limit of this process now.
    pub fn from_rlimit() -> Self {
        // getrlimit(2) cannot fail here.
        let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        Self(usize::try_from(soft).unwrap_or(usize::MAX))
    }

    pub fn limit(self) -> usize {
        self.0
    }

    /// Clients that each of the two control sockets may have.
    pub fn control_clients(self) -> usize {
        (self.0 / 16).clamp(1, Self::CONTROL_CLIENTS)
    }

    /// The number of connections that fit beside this number of workers, at least one.
    pub fn connections(self, workers: usize) -> usize {
        let reserved = (self.0 / 4).min(Self::RESERVED);
        let kept = reserved + 2 * self.control_clients() + Self::PER_WORKER * workers;
        self.0.saturating_sub(kept).max(1)
    }

    /// Descriptors that a start takes beside those that are open already: two runtimes' worth for signals,
    /// control sockets, counters and figures, and those of each worker.
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
