use std::{
    io,
    time::{Duration, Instant},
};

use nix::errno::Errno;
use tokio::time::{sleep, timeout};

use super::thread::Shared;
use crate::{http::Evicted, log::Event};

/// How long to wait before a failed operation is tried again.
pub const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Back-off of an acceptor when accept(2) fails because descriptors or memory have run out, and when the
/// connection limit is reached. Each pause is counted; at most one in [`Self::LOG_INTERVAL`] is logged.
#[derive(Debug, Default)]
pub struct AcceptBackoff {
    is_paused: bool,
    last_pause_logged: Option<Instant>,
    is_pause_logged: bool,
    last_eviction_logged: Option<Instant>,
}

impl AcceptBackoff {
    const LOG_INTERVAL: Duration = Duration::from_secs(10);

    /// Descriptors or memory have run out (accept(2)); trying at once would only burn CPU time.
    pub fn is_resource_error(error: &io::Error) -> bool {
        let errno = error.raw_os_error().map(Errno::from_raw);
        matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
    }

    /// Whether one connection has failed before it was accepted, and the next one may be tried at once:
    /// accept(2) lists these. Any other error may stay, such as that of a security module or of a filter of
    /// system calls; trying at once would then only burn CPU time.
    pub fn is_client_error(error: &io::Error) -> bool {
        let errno = error.raw_os_error().map(Errno::from_raw);
        matches!(
            errno,
            Some(
                Errno::ECONNABORTED
                    | Errno::EINTR
                    | Errno::EPROTO
                    | Errno::ENOPROTOOPT
                    | Errno::ENETDOWN
                    | Errno::ENETUNREACH
                    | Errno::ENONET
                    | Errno::EHOSTDOWN
                    | Errno::EHOSTUNREACH
            )
        )
    }

    /// Whether a pause that begins now is to be logged.
    fn should_log_pause(&mut self) -> bool {
        self.is_pause_logged = self.last_pause_logged.is_none_or(|at| at.elapsed() > Self::LOG_INTERVAL);
        if self.is_pause_logged {
            self.last_pause_logged = Some(Instant::now());
        }
        self.is_pause_logged
    }

    /// Whether an eviction at this moment is to be logged.
    fn should_log_eviction(&mut self) -> bool {
        let is_due = self.last_eviction_logged.is_none_or(|at| at.elapsed() > Self::LOG_INTERVAL);
        if is_due {
            self.last_eviction_logged = Some(Instant::now());
        }
        is_due
    }

    /// Ends the pause. Returns whether that is to be logged.
    pub fn resume(&mut self) -> bool {
        self.is_paused = false;
        std::mem::take(&mut self.is_pause_logged)
    }

    /// At the limit: closes connections of the peer that holds most. While every request is complete, the
    /// backlog holds.
    pub async fn reduce_to_limit(&mut self, shared: &Shared) {
        /// A connection that was asked to close may have a last request to answer.
        const EVICTION_TIMEOUT: Duration = Duration::from_secs(1);
        /// Connections that are asked at once, when those before have not closed in time.
        const MAX_EVICTIONS: usize = 64;

        let mut factor = 1;
        while shared.dispatcher.is_full() {
            // More than one where the limit was lowered.
            let surplus = (shared.dispatcher.open() + 1).saturating_sub(shared.dispatcher.limit());
            let mut evicted = 0;
            while evicted < surplus.max(factor) && self.evict(shared) {
                evicted += 1;
            }
            if evicted > 0 {
                // Something else may have closed before that, so only the limit is looked at.
                while shared.dispatcher.is_full()
                    && timeout(EVICTION_TIMEOUT, shared.dispatcher.wait_for_capacity()).await.is_ok()
                {
                }
                // Those that do not close are perhaps all of one worker, which is stuck.
                factor = (2 * factor).min(MAX_EVICTIONS);
                continue;
            }
            let reached = if shared.dispatcher.is_fd_limited() {
                "the limit of open files"
            } else {
                "limits.connections"
            };
            self.pause(shared, || format!("{reached} is reached, and every request is complete"));
            // A response may be sent without anything being closed.
            let _ = timeout(RETRY_DELAY, shared.dispatcher.wait_for_capacity()).await;
        }
        shared.dispatcher.wake_if_below_limit();
    }

    /// Descriptors or memory have run out below the limit. Lowers the limit if RLIMIT_NOFILE has become lower;
    /// else closes one connection and waits.
    pub async fn relieve(&mut self, shared: &Shared) {
        if let Some(event) = shared.dispatcher.update_limit() {
            shared.log.send(event);
        }
        if !shared.dispatcher.is_full() {
            self.evict(shared);
            sleep(RETRY_DELAY).await;
        }
    }

    /// Has one connection closed; `false` if there is none that may be.
    fn evict(&mut self, shared: &Shared) -> bool {
        let Some(Evicted { peer, held }) = shared.dispatcher.evict() else { return false };
        shared.memory.accept.evicted.add(1);
        if self.should_log_eviction() {
            let (limit, is_short_of_files) = (shared.dispatcher.limit(), shared.dispatcher.is_fd_limited());
            let peer = peer.to_string();
            shared.log.send(Event::LimitReached { limit, is_short_of_files, peer, held });
        }
        true
    }

    /// Counts each pause once, however often it is tried again meanwhile.
    pub fn pause(&mut self, shared: &Shared, reason: impl FnOnce() -> String) {
        if !std::mem::replace(&mut self.is_paused, true) {
            shared.memory.accept.pauses.add(1);
            if self.should_log_pause() {
                shared.log.send(Event::AcceptPaused { reason: reason() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::{
        log::{Level, Log, Sink},
        stats::SharedStats,
    };

    #[test]
    fn each_pause_is_counted_and_few_are_logged() {
        let (lines, logged) = std::sync::mpsc::channel();
        let log =
            Log::start(Sink::function(move |event| drop(lines.send(event.clone()))), Level::Info).unwrap();
        let memory = Arc::new(SharedStats::create(0).unwrap());
        let (ended, _) = unbounded_channel();
        let shared = Shared {
            dispatcher: Arc::default(),
            memory,
            parse: crate::pixel::parse,
            log,
            heartbeat: Duration::MAX,
            ended,
        };
        let mut backoff = AcceptBackoff::default();
        for _ in 0..3 {
            backoff.pause(&shared, || "none left".into());
            backoff.pause(&shared, || "still none left".into());
            backoff.resume();
        }
        assert_eq!(shared.memory.accept.pauses.get(), 3);
        shared.log.flush(Duration::from_secs(10));
        assert!(matches!(logged.try_iter().collect::<Vec<_>>()[..], [Event::AcceptPaused { .. }]));
    }
}
