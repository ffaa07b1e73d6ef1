use std::panic::{self, PanicHookInfo};

use crate::log::{Event, Log};

/// Logs each panic with its message and place instead of printing it to stderr. A panic of the log thread is
/// printed, because its log line could panic too.
pub fn install(log: Log) {
    let show = panic::take_hook();
    panic::set_hook(Box::new(
        move |info| {
            if Log::is_its_thread() { show(info) } else { log.send(event(info)) }
        },
    ));
}

fn event(info: &PanicHookInfo<'_>) -> Event {
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    Event::Panicked { reason: format!("Thread {thread} {info}").replace('\n', " ") }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
        sync::{Arc, mpsc},
        time::Duration,
    };

    use super::*;
    use crate::{
        config::Settings,
        connection::DetachedConnection,
        log::{Level, Sink},
        net::Socket,
        pixel::{self, BodyRejection, Pixel},
        stats::{Outcome, SharedStats, Totals},
        worker::{Pool, SharedState},
    };

    const PIXEL: &str = r#"{"x":1,"y":2,"channel":"G","value":12}"#;
    /// Fields of a request for the fast path.
    const PLAIN: &str = "content-type: application/json\r\n";
    /// Fields of a request for hyper.
    const ODD: &str = "content-type: application/json\r\nexpect: nothing\r\n";

    fn request(fields: &str, body: &str) -> String {
        let length = body.len();
        format!("POST /pixel HTTP/1.1\r\nhost: h\r\n{fields}content-length: {length}\r\n\r\n{body}")
    }

    struct Client(UnixStream);

    impl Client {
        fn of(pool: &Pool) -> Self {
            let (near, far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            pool.adopt_connection(DetachedConnection::new(Socket::adopt(near.into()).unwrap(), None));
            Self(far)
        }

        /// Sends a request, and returns everything until the connection is closed.
        fn ask_last(mut self, request: &str) -> String {
            let mut answers = String::new();
            self.0.write_all(request.as_bytes()).unwrap();
            self.0.read_to_string(&mut answers).expect("the connection is closed in good order");
            answers
        }

        fn is_served(&mut self) {
            self.0.write_all(request(PLAIN, PIXEL).as_bytes()).unwrap();
            let mut answer = [0; 1024];
            let length = self.0.read(&mut answer).unwrap();
            assert!(answer[..length].starts_with(b"HTTP/1.1 200 "), "{:?}", answer[..length].utf8_chunks());
        }
    }

    /// A body that [`parse`] panics at.
    const PANICKING: &str = r#"{"x":1,"y":2,"channel":"G","value":13}"#;

    fn parse(body: &[u8]) -> Result<Pixel<'_>, BodyRejection> {
        assert!(body != PANICKING.as_bytes(), "an unknown error");
        pixel::parse(body)
    }

    #[test]
    fn panic_costs_only_its_own_request() {
        let (lines, told) = mpsc::channel();
        let sink = Sink::function(move |event| drop(lines.send(event.clone())));
        let log = Log::start(sink, Level::Info).unwrap();
        let before = panic::take_hook();
        let hooked = log.clone();
        // Panics of other tests are still printed.
        panic::set_hook(Box::new(move |info| {
            hooked.send(event(info));
            before(info);
        }));
        let memory = Arc::new(SharedStats::create(0).unwrap());
        let (ended, mut ended_workers) = tokio::sync::mpsc::unbounded_channel();
        let heartbeat = Duration::from_millis(100);
        let shared = SharedState {
            dispatcher: Arc::default(),
            memory: memory.clone(),
            parse,
            log: log.clone(),
            heartbeat,
            ended,
        };
        let pool = Pool::start(1, (&Settings::default()).into(), 100, shared).unwrap();

        let mut neighbour = Client::of(&pool);
        neighbour.is_served();
        for fields in [PLAIN, ODD] {
            let answer = Client::of(&pool).ask_last(&request(fields, PANICKING));
            assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
            assert!(answer.ends_with(r#"{"detail":"Internal Server Error"}"#), "{answer}");
            neighbour.is_served();
        }
        // The earlier request has its response; the later one has none.
        let [good, bad] = [PIXEL, PANICKING].map(|body| request(PLAIN, body));
        let answers = Client::of(&pool).ask_last(&format!("{good}{bad}{good}"));
        let statuses: Vec<_> =
            answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
        assert_eq!(statuses, ["200", "500"], "{answers}");
        neighbour.is_served();

        assert!(ended_workers.try_recv().is_err(), "the worker has ended");
        let totals = Totals::sum(memory.workers());
        assert_eq!((totals.outcome(Outcome::Failed), totals.outcome(Outcome::Ok)), (3, 5));
        log.flush(Duration::from_secs(10));
        let is_told = |event: &Event| matches!(event, Event::Panicked { reason } if reason.contains("Thread pixeld-1 panicked at ") && reason.contains("an unknown error"));
        assert_eq!(told.try_iter().filter(|event| is_told(event)).count(), 3);
        pool.abort("the test has ended");
    }
}
