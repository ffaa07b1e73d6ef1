use std::{
    io,
    time::{Duration, Instant},
};

use nix::errno::Errno;
use tokio::time::{sleep, timeout};

use super::thread::Shared;
use crate::{http::Evicted, log::Event};

/// How long to wait before something is tried again that did not work.
pub const SHORTLY: Duration = Duration::from_millis(100);

/// Whether descriptors, memory or connections are short. They may be so again and again, whenever a
/// few have been given back; each time is counted, and told only now and then.
#[derive(Debug, Default)]
pub struct Shortage {
    is_on: bool,
    told: Option<Instant>,
    is_told: bool,
    told_evicting: Option<Instant>,
}

impl Shortage {
    const NOW_AND_THEN: Duration = Duration::from_secs(10);

    /// Descriptors or memory have run out (accept(2)); trying at once would only burn CPU time.
    pub fn is(error: &io::Error) -> bool {
        let errno = error.raw_os_error().map(Errno::from_raw);
        matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
    }

    /// Whether one connection has failed before it was accepted, and the next one may be tried at once:
    /// accept(2) lists these. Any other error may stay, such as that of a security module or of a filter of
    /// system calls; trying at once would then only burn CPU time.
    pub fn is_of_client(error: &io::Error) -> bool {
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

    /// Whether to tell that one has begun.
    fn is_to_be_told(&mut self) -> bool {
        self.is_told = self.told.is_none_or(|told| told.elapsed() > Self::NOW_AND_THEN);
        if self.is_told {
            self.told = Some(Instant::now());
        }
        self.is_told
    }

    /// Somebody is sent away for somebody else; says whether to tell.
    fn evicts(&mut self) -> bool {
        let is_due = self.told_evicting.is_none_or(|told| told.elapsed() > Self::NOW_AND_THEN);
        if is_due {
            self.told_evicting = Some(Instant::now());
        }
        is_due
    }

    /// Nothing is short any more; says whether to tell.
    pub fn ends(&mut self) -> bool {
        self.is_on = false;
        std::mem::take(&mut self.is_told)
    }

    /// At the limit: closes connections of the peer that holds most. While every request is complete, the
    /// backlog holds.
    pub async fn make_room(&mut self, shared: &Shared) {
        /// A connection that was asked to close may have a last request to answer.
        const EVICTION: Duration = Duration::from_secs(1);
        /// Connections that are asked at once, when those before have not closed in time.
        const MOST: usize = 64;

        let mut factor = 1;
        while shared.dispatcher.is_full() {
            // More than one where the limit was lowered.
            let surplus = (shared.dispatcher.open() + 1).saturating_sub(shared.dispatcher.limit());
            let mut evicted = 0;
            while evicted < surplus.max(factor) && self.evict(shared) {
                evicted += 1;
            }
            if evicted > 0 {
                // Something else may have closed before that, so what counts is that there is room.
                while shared.dispatcher.is_full()
                    && timeout(EVICTION, shared.dispatcher.wait_for_capacity()).await.is_ok()
                {
                }
                // Those that do not close are perhaps all of one worker, which is stuck.
                factor = (2 * factor).min(MOST);
                continue;
            }
            let reached = if shared.dispatcher.is_fd_limited() {
                "the limit of open files"
            } else {
                "limits.connections"
            };
            self.pause(shared, || format!("{reached} is reached, and every request is complete"));
            // A response may be sent without anything being closed.
            let _ = timeout(SHORTLY, shared.dispatcher.wait_for_capacity()).await;
        }
        shared.dispatcher.wake_if_below_limit();
    }

    /// Something is short before the limit: that may have to be lower, for somebody may have lowered the
    /// one of open files. Where it is not, a connection gives way, until better times come.
    pub async fn make_do(&mut self, shared: &Shared) {
        if let Some(event) = shared.dispatcher.update_limit() {
            shared.log.send(event);
        }
        if !shared.dispatcher.is_full() {
            self.evict(shared);
            sleep(SHORTLY).await;
        }
    }

    /// Has one connection closed; `false` if there is none that may be.
    fn evict(&mut self, shared: &Shared) -> bool {
        let Some(Evicted { peer, held }) = shared.dispatcher.evict() else { return false };
        shared.memory.accept.evicted.add(1);
        if self.evicts() {
            let (limit, is_short_of_files) = (shared.dispatcher.limit(), shared.dispatcher.is_fd_limited());
            let peer = peer.to_string();
            shared.log.send(Event::LimitReached { limit, is_short_of_files, peer, held });
        }
        true
    }

    /// Counts each pause once, however often it is tried again meanwhile.
    pub fn pause(&mut self, shared: &Shared, reason: impl FnOnce() -> String) {
        if !std::mem::replace(&mut self.is_on, true) {
            shared.memory.accept.pauses.add(1);
            if self.is_to_be_told() {
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
        stats::Memory,
    };

    #[test]
    fn each_pause_is_counted_and_few_are_logged() {
        let (lines, told) = std::sync::mpsc::channel();
        let log =
            Log::start(Sink::function(move |event| drop(lines.send(event.clone()))), Level::Info).unwrap();
        let memory = Arc::new(Memory::create(0).unwrap());
        let (ended, _) = unbounded_channel();
        let shared = Shared { dispatcher: Arc::default(), memory, log, heartbeat: Duration::MAX, ended };
        let mut shortage = Shortage::default();
        for _ in 0..3 {
            shortage.pause(&shared, || "none left".into());
            shortage.pause(&shared, || "still none left".into());
            shortage.ends();
        }
        assert_eq!(shared.memory.accept.pauses.get(), 3);
        shared.log.flush(Duration::from_secs(10));
        assert!(matches!(told.try_iter().collect::<Vec<_>>()[..], [Event::AcceptPaused { .. }]));
    }
}
