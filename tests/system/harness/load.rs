//! Constant load in the background, while a test restarts, reloads or breaks something.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};

use super::client::{Connection, Endpoint, Request};
use super::network::Namespace;
use super::wait_until;

/// How many transport errors a report describes; it counts all.
const DESCRIBED: usize = 20;

/// The request, its rate and the duration of the load.
#[derive(Clone, Debug)]
pub struct Load {
    pub target: Endpoint,
    pub request: Request,
    /// Connections that are open at a time, each with one request at a time.
    pub connections: u32,
    /// Requests per second, over all connections. Slow answers make it less, never more.
    pub rate: u32,
    /// Stops after this number of requests.
    pub limit: u64,
    /// Stops after this time.
    pub duration: Duration,
    /// Whether a request goes out again, on a new connection, when the server has closed a kept one
    /// before it said anything: nginx closes kept connections whenever it reloads.
    pub comes_again: bool,
}

impl Load {
    /// 400 pixels per second on 8 connections, for at most a minute.
    pub fn on(target: impl Into<Endpoint>) -> Self {
        Self {
            target: target.into(),
            request: Request::pixel(r#"{"x":1,"y":2,"channel":"R","value":100}"#),
            connections: 8,
            rate: 400,
            limit: 100_000,
            duration: Duration::from_secs(60),
            comes_again: false,
        }
    }
}

/// Load that runs until it is stopped or dropped, or has reached a limit.
pub struct LoadHandle {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    load: Load,
    start: Instant,
    stop: AtomicBool,
    sent: AtomicU64,
    report: Mutex<Report>,
}

impl LoadHandle {
    pub(super) fn start(namespace: &Arc<Namespace>, load: Load) -> Self {
        let connections = load.connections;
        let report = Report::of(connections);
        let shared = Arc::new(Shared {
            load,
            start: Instant::now(),
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            report: Mutex::new(report),
        });
        let start_worker = |worker| {
            let (namespace, shared) = (Arc::clone(namespace), Arc::clone(&shared));
            thread::spawn(move || {
                namespace.join();
                shared.work(worker);
            })
        };
        let workers = (0..connections).map(start_worker).collect();
        Self { shared, workers }
    }

    /// Returns the counts so far.
    pub fn report(&self) -> Report {
        self.shared.report.lock().expect("no worker panics").clone()
    }

    /// Returns the counts since the previous call and resets them.
    pub fn take_report(&self) -> Report {
        let next = Report::of(self.shared.load.connections);
        std::mem::replace(&mut *self.shared.report.lock().expect("no worker panics"), next)
    }

    /// Waits for this number of further responses of any status.
    #[track_caller]
    pub fn wait_for_answers(&self, more: u64) {
        let before = self.report().answered();
        wait_until("the load gets more answers", || self.report().answered() >= before + more);
    }

    /// Waits for the answers that are due, and says what happened.
    pub fn stop(mut self) -> Report {
        self.end();
        self.report()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            assert!(worker.join().is_ok() || thread::panicking(), "a worker panicked");
        }
    }
}

impl Drop for LoadHandle {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    /// One connection's share of the load; connections take turns in time.
    fn work(&self, worker: u32) {
        let Load { connections, rate, limit, duration, .. } = self.load;
        let every = Duration::from_secs(1) / rate;
        let mut due = self.start + every * worker;
        let mut connection = None;
        loop {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let over = self.stop.load(Ordering::Relaxed) || self.start.elapsed() >= duration;
            if over || self.sent.fetch_add(1, Ordering::Relaxed) >= limit {
                return;
            }
            let begin = Instant::now();
            let outcome = self.request(&mut connection);
            self.record(worker, begin, outcome);
            // Missed requests are not made up for.
            due = (due + every * connections).max(Instant::now());
        }
    }

    /// Sends a request on the connection if there is one that is open, or else on a new one.
    fn request(&self, kept: &mut Option<Connection>) -> io::Result<u16> {
        let open = kept.take().filter(|connection| !connection.is_closed());
        let was_kept = open.is_some();
        let mut connection = open.map_or_else(|| self.connect(), Ok)?;
        let mut response = connection.send(&self.load.request);
        if response.is_err() && was_kept && self.load.comes_again && connection.is_closed_unanswered() {
            self.report.lock().expect("no worker panics").came_again += 1;
            connection = self.connect()?;
            response = connection.send(&self.load.request);
        }
        let status = response?.status;
        *kept = Some(connection);
        Ok(status)
    }

    fn connect(&self) -> io::Result<Connection> {
        let connection = Connection::open(&self.load.target)?;
        self.report.lock().expect("no worker panics").connects += 1;
        Ok(connection)
    }

    fn record(&self, worker: u32, begin: Instant, outcome: io::Result<u16>) {
        let mut report = self.report.lock().expect("no worker panics");
        report.sent += 1;
        report.slowest = report.slowest.max(begin.elapsed());
        match outcome {
            Ok(status) => {
                *report.by_status.entry(status).or_default() += 1;
                report.per_connection[worker as usize] += 1;
            }
            Err(error) => {
                report.errors += 1;
                if report.first_errors.len() < DESCRIBED {
                    let at = begin - self.start;
                    report.first_errors.push(format!("at {at:.3?}, connection {worker}: {error}"));
                }
            }
        }
    }
}

/// Counts of a load.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Attempts; each one has a response or is a transport error.
    pub sent: u64,
    /// Answers of each status.
    pub by_status: BTreeMap<u16, u64>,
    /// Attempts without a whole answer.
    pub errors: u64,
    /// The first transport errors, with the time since the load's start.
    pub first_errors: Vec<String>,
    /// The longest that an attempt took, connecting included.
    pub slowest: Duration,
    /// Connections that were opened, over all.
    pub connects: u64,
    /// Requests that went out again, see [`Load::comes_again`].
    pub came_again: u64,
    /// Answers on each of the connections that are open at a time.
    pub per_connection: Vec<u64>,
}

impl Report {
    fn of(connections: u32) -> Self {
        Self { per_connection: vec![0; connections as usize], ..Self::default() }
    }

    /// Answers of any status.
    pub fn answered(&self) -> u64 {
        self.by_status.values().sum()
    }

    /// Answers of status 200 to 299.
    pub fn ok(&self) -> u64 {
        self.by_status.range(200..300).map(|(_, count)| count).sum()
    }

    /// Panics unless there was load, and each request had a good answer.
    #[track_caller]
    pub fn assert_all_ok(&self) {
        assert!(self.sent > 0 && self.ok() == self.sent, "not all is well: {self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, by_status, errors, first_errors, slowest, connects, .. } = self;
        let Self { came_again, per_connection, .. } = self;
        write!(f, "{sent} sent, {} ok, by status {by_status:?}, {errors} transport errors, ", self.ok())?;
        write!(f, "slowest {slowest:.3?}, {connects} connects, {came_again} came again, ")?;
        write!(f, "per connection {per_connection:?}")?;
        first_errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}
