use nix::sys::resource::{Resource, getrlimit};

/// How many files a process may have open (RLIMIT_NOFILE), and how they are shared out: what is not
/// kept for everything else is for connections, so that these never shut an operator out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Files(usize);

impl Files {
    /// Clients of a control socket, where there is no want of descriptors.
    const CONTROL_CLIENTS: usize = 64;
    /// Listeners, log, notifications, files that are read for a moment.
    const REST: usize = 64;
    /// Those of a worker's runtime.
    const FOR_EACH_WORKER: usize = 4;

    /// As it is for this process now.
    pub fn allowed() -> Self {
        // Where nobody can tell, nobody limits.
        let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        Self(usize::try_from(soft).unwrap_or(usize::MAX))
    }

    /// The number itself.
    pub fn number(self) -> usize {
        self.0
    }

    /// Clients that each of the two control sockets may have.
    pub fn control_clients(self) -> usize {
        (self.0 / 16).clamp(1, Self::CONTROL_CLIENTS)
    }

    /// Connections that there is room for beside so many workers; always one.
    pub fn connections(self, workers: usize) -> usize {
        let rest = (self.0 / 4).min(Self::REST);
        let kept = rest + 2 * self.control_clients() + Self::FOR_EACH_WORKER * workers;
        self.0.saturating_sub(kept).max(1)
    }

    /// Descriptors that a start takes beside those that are open already: two runtimes' worth for signals,
    /// control sockets, counters and figures, and those of each worker.
    pub fn for_start(workers: usize) -> usize {
        14 + Self::FOR_EACH_WORKER * workers
    }

    /// Descriptors that so many connections and workers take, with everything else.
    pub fn needed(connections: usize, workers: usize) -> usize {
        connections + Self::REST + 2 * Self::CONTROL_CLIENTS + Self::FOR_EACH_WORKER * workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_limit_allows_all_connections() {
        for (connections, workers) in [(1_000, 1), (10_000, 2), (65_536, 64)] {
            assert_eq!(Files(Files::needed(connections, workers)).connections(workers), connections);
        }
    }

    #[test]
    fn small_fd_limit_allows_http_and_control() {
        assert_eq!((Files(128).connections(2), Files(128).control_clients()), (72, 8));
        assert_eq!((Files(3).connections(2), Files(3).control_clients()), (1, 1));
    }
}
