use std::{
    io,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::broadcast;

use super::{
    event::Event,
    recent_events::{RecentEvents, RecordedEvent},
    sink::Sink,
};
use crate::control::Level;

/// Maximum number of lines that wait to be written.
const CAPACITY: usize = 1024;
/// Interval of the attempts to report dropped lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const THREAD: &str = "pixeld-log";
/// The reason for lines that do not fit into the queue.
const QUEUE_FULL: &str = "the queue of 1024 lines was full";

/// The sending end of the queue. Cheap to clone, never blocks.
#[derive(Debug, Clone)]
pub struct Log {
    queue: SyncSender<QueueItem>,
    state: Arc<LogState>,
}

/// State that both ends of the queue share.
#[derive(Debug, Default)]
struct LogState {
    level: AtomicU8,
    dropped: AtomicU64,
    is_stalled: AtomicBool,
    recent: RecentEvents,
}

impl LogState {
    /// Counts a dropped line, and publishes the reason for the first of several.
    fn count_dropped(&self, reason: &str) {
        self.dropped.fetch_add(1, Relaxed);
        if !self.is_stalled.swap(true, Relaxed) {
            self.recent.publish(&Event::LogStalled { reason: reason.into() });
        }
    }
}

#[derive(Debug)]
enum QueueItem {
    /// An event, and the place of the code that sent it.
    Event(Event, &'static Location<'static>),
    /// A request to confirm that all earlier items are written.
    Flush(SyncSender<()>),
}

impl Log {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(sink: Sink, level: Level) -> io::Result<Self> {
        let (queue, events) = sync_channel(CAPACITY);
        let log = Self { queue, state: Arc::default() };
        log.set_level(level);
        let writer = Writer { sink, state: log.state.clone(), failure: None };
        thread::Builder::new().name(THREAD.into()).spawn(move || writer.write_out(&events))?;
        Ok(log)
    }

    /// Whether this is the thread that writes.
    pub fn is_its_thread() -> bool {
        thread::current().name() == Some(THREAD)
    }

    /// Whether events of this level are written. Callers check this before they create an expensive event.
    pub fn wants(&self, level: Level) -> bool {
        level as u8 <= self.state.level.load(Relaxed)
    }

    /// Writes events up to `level` from now on.
    pub fn set_level(&self, level: Level) {
        self.state.level.store(level as u8, Relaxed);
    }

    pub fn level(&self) -> Level {
        Level::ALL
            .into_iter()
            .find(|level| *level as u8 == self.state.level.load(Relaxed))
            .unwrap_or(Level::Debug)
    }

    /// Queues an event, or counts it as dropped if the queue is full. Subscribers receive it in both cases, unless its
    /// level is debug.
    #[track_caller]
    pub fn send(&self, event: Event) {
        let level = event.level();
        if level < Level::Debug {
            self.state.recent.publish(&event);
        }
        let item = QueueItem::Event(event, Location::caller());
        if self.wants(level) && self.queue.try_send(item).is_err() {
            self.state.count_dropped(QUEUE_FULL);
        }
    }

    /// Returns the recent events and a receiver of the next ones, independent of the level, except debug.
    pub fn subscribe(&self) -> (Vec<RecordedEvent>, broadcast::Receiver<RecordedEvent>) {
        self.state.recent.subscribe()
    }

    /// Returns the number of dropped lines since the start.
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Relaxed)
    }

    /// Waits until all events sent so far are written, at most for `limit`.
    pub fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let (done, written) = sync_channel(1);
        let mut flush = QueueItem::Flush(done);
        while let Err(TrySendError::Full(returned)) = self.queue.try_send(flush) {
            if Instant::now() >= deadline {
                return;
            }
            flush = returned;
            thread::sleep(Duration::from_millis(1));
        }
        let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// The receiving end of the queue.
struct Writer {
    sink: Sink,
    state: Arc<LogState>,
    /// The error of the last line that could not be written, until it is reported.
    failure: Option<String>,
}

impl Writer {
    fn write_out(mut self, events: &Receiver<QueueItem>) {
        let mut reported = 0;
        loop {
            // The timeout reports dropped lines also if no further event is sent.
            let is_to_report = self.state.dropped.load(Relaxed) > reported;
            let message = events.recv_timeout(if is_to_report { REPORT_INTERVAL } else { Duration::MAX });
            let (is_taken, flushed) = match message {
                Ok(QueueItem::Event(event, place)) => (self.write(&event, place), None),
                Ok(QueueItem::Flush(done)) => (true, Some(done)),
                Err(RecvTimeoutError::Timeout) => (true, None),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let lost = self.state.dropped.load(Relaxed);
            if is_taken && lost > reported && self.report(lost - reported) {
                reported = lost;
            }
            if let Some(done) = flushed {
                let _ = done.try_send(());
            }
        }
    }

    /// Writes a line, or counts it as dropped. Returns whether it was written.
    fn write(&mut self, event: &Event, place: &Location<'_>) -> bool {
        let Err(error) = self.write_to_sink(event, place) else { return true };
        let reason = error.to_string();
        self.state.count_dropped(&reason);
        self.failure = Some(reason);
        false
    }

    /// Turns a panic of the formatter into an error, so that only its line is lost.
    fn write_to_sink(&mut self, event: &Event, place: &Location<'_>) -> io::Result<()> {
        let panicked = |_| Err(io::Error::other("a panic while the line was written"));
        catch_unwind(AssertUnwindSafe(|| self.sink.write(event, place))).unwrap_or_else(panicked)
    }

    /// Reports the number of dropped lines. Returns whether writing works again.
    fn report(&mut self, lines: u64) -> bool {
        let reason = self.failure.clone().unwrap_or_else(|| QUEUE_FULL.into());
        let event = Event::LogLinesDropped { lines, reason };
        let is_written = self.write_to_sink(&event, Location::caller()).is_ok();
        if is_written {
            self.state.is_stalled.store(false, Relaxed);
            self.state.recent.publish(&event);
            self.failure = None;
        }
        is_written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_queue_drops_and_counts() {
        let (blocked, entered) = (Arc::new(std::sync::Barrier::new(2)), Arc::new(std::sync::Barrier::new(2)));
        let (lines, written) = std::sync::mpsc::channel();
        let (blocked_sink, entered_sink) = (blocked.clone(), entered.clone());
        let mut first = true;
        let sink = Sink::function(move |event| {
            if std::mem::take(&mut first) {
                entered_sink.wait();
                blocked_sink.wait();
            }
            let _ = lines.send(event.message());
        });
        let log = Log::start(sink, Level::Info).unwrap();
        log.send(Event::AcceptResumed { socket: String::new() });
        entered.wait();
        for _ in 0..CAPACITY + 7 {
            log.send(Event::AcceptResumed { socket: String::new() });
        }
        assert_eq!(log.dropped(), 7);
        blocked.wait();
        log.flush(Duration::from_secs(10));
        let lines: Vec<_> = written.try_iter().collect();
        assert_eq!(lines.iter().filter(|line| line.starts_with("7 log lines dropped")).count(), 1);
        assert_eq!(lines.len(), 1 + CAPACITY + 1);
    }

    #[test]
    fn unwritable_lines_are_counted_and_reported_once() {
        let is_full = Arc::new(AtomicBool::new(true));
        let (lines, written) = std::sync::mpsc::channel();
        let disk = is_full.clone();
        let sink = Sink::fallible(move |event| {
            if disk.load(Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let _ = lines.send(event.message());
            Ok(())
        });
        let log = Log::start(sink, Level::Info).unwrap();
        for _ in 0..3 {
            log.send(Event::AcceptResumed { socket: String::new() });
        }
        log.flush(Duration::from_secs(10));
        assert_eq!(log.dropped(), 3);
        let recorded =
            |log: &Log| log.subscribe().0.iter().map(|recorded| recorded.event.message()).collect::<Vec<_>>();
        let stalled = "Log stalled, lines are dropped: no storage space";
        assert_eq!(
            recorded(&log).iter().filter(|message| *message == stalled).count(),
            1,
            "{:?}",
            recorded(&log)
        );

        is_full.store(false, Relaxed);
        for worker in [1, 2] {
            log.send(Event::WorkerStarted { worker, cause: "" });
            log.flush(Duration::from_secs(10));
        }
        assert_eq!(
            written.try_iter().collect::<Vec<_>>(),
            ["Worker 1 started", "3 log lines dropped: no storage space", "Worker 2 started"]
        );
        assert!(recorded(&log).contains(&"3 log lines dropped: no storage space".into()));
        assert_eq!(log.dropped(), 3);
    }

    #[test]
    fn sink_panic_loses_one_line() {
        let (lines, written) = std::sync::mpsc::channel();
        let sink = Sink::function(move |event| {
            assert_ne!(event.worker(), Some(1), "a panic that this test is about");
            let _ = lines.send(event.message());
        });
        let log = Log::start(sink, Level::Info).unwrap();
        for worker in [1, 2] {
            log.send(Event::WorkerStarted { worker, cause: "" });
        }
        log.flush(Duration::from_secs(10));
        assert_eq!(log.dropped(), 1);
        assert_eq!(written.try_iter().next(), Some("Worker 2 started".into()));
    }

    #[test]
    fn event_below_the_level_is_not_written() {
        let (lines, written) = std::sync::mpsc::channel();
        let sink = Sink::function(move |event| drop(lines.send(event.message())));
        let log = Log::start(sink, Level::Warn).unwrap();
        log.send(Event::AcceptResumed { socket: String::new() });
        log.set_level(Level::Info);
        log.send(Event::WorkerStarted { worker: 3, cause: "" });
        log.flush(Duration::from_secs(10));
        assert_eq!(written.try_iter().collect::<Vec<_>>(), ["Worker 3 started"]);
        assert_eq!(log.dropped(), 0);
    }
}
