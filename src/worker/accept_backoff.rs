use std::{
    fmt::Display,
    io,
    time::{Duration, Instant},
};

use nix::errno::Errno;

use crate::{
    log::{Event, Log},
    stats::SharedStats,
};

/// Back-off of an acceptor when accept(2) fails because descriptors or memory have run out, and when the
/// connection limit is reached. Each pause is counted; at most one in [`Self::LOG_INTERVAL`] is logged.
#[derive(Debug, Default)]
pub struct AcceptBackoff {
    /// Whether a pause is in effect, also one because of an error of the listener.
    pub is_paused: bool,
    last_pause_logged: Option<Instant>,
    is_pause_logged: bool,
    last_eviction_logged: Option<Instant>,
}

impl AcceptBackoff {
    const LOG_INTERVAL: Duration = Duration::from_secs(10);

    /// Whether descriptors or memory have run out. A retry at once would only use CPU time.
    pub fn is_resource_error(error: &io::Error) -> bool {
        let errno = error.raw_os_error().map(Errno::from_raw);
        matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
    }

    /// Whether one connection has failed before it was accepted (accept(2) lists these errors), so that the next one
    /// can be accepted at once. Any other error may be permanent, for example that of a system call filter.
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

    /// Whether to log a pause that begins now.
    fn should_log_pause(&mut self) -> bool {
        self.is_pause_logged = self.last_pause_logged.is_none_or(|at| at.elapsed() > Self::LOG_INTERVAL);
        if self.is_pause_logged {
            self.last_pause_logged = Some(Instant::now());
        }
        self.is_pause_logged
    }

    /// Whether to log an eviction that happens now.
    pub fn should_log_eviction(&mut self) -> bool {
        let is_due = self.last_eviction_logged.is_none_or(|at| at.elapsed() > Self::LOG_INTERVAL);
        if is_due {
            self.last_eviction_logged = Some(Instant::now());
        }
        is_due
    }

    /// Ends the pause. Returns whether to log that.
    pub fn resume(&mut self) -> bool {
        self.is_paused = false;
        std::mem::take(&mut self.is_pause_logged)
    }

    /// Begins a pause, which is counted once. Has no effect during a pause.
    pub fn pause(
        &mut self,
        stats: &SharedStats,
        log: &Log,
        socket: impl Display,
        reason: impl FnOnce() -> String,
    ) {
        if !std::mem::replace(&mut self.is_paused, true) {
            stats.accept.pauses.add(1);
            if self.should_log_pause() {
                log.send(Event::AcceptPaused { socket: socket.to_string(), reason: reason() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Level, Sink};

    #[test]
    fn each_pause_is_counted_and_few_are_logged() {
        let (lines, logged) = std::sync::mpsc::channel();
        let log =
            Log::start(Sink::function(move |event| drop(lines.send(event.clone()))), Level::Info).unwrap();
        let stats = SharedStats::create(0).unwrap();
        let mut backoff = AcceptBackoff::default();
        for _ in 0..3 {
            backoff.pause(&stats, &log, "a socket", || "none left".into());
            backoff.pause(&stats, &log, "a socket", || "still none left".into());
            backoff.resume();
        }
        assert_eq!(stats.accept.pauses.get(), 3);
        log.flush(Duration::from_secs(10));
        assert!(matches!(logged.try_iter().collect::<Vec<_>>()[..], [Event::AcceptPaused { .. }]));
    }
}
