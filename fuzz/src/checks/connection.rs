use std::{
    convert::identity,
    os::unix::net::UnixStream as StdStream,
    rc::Rc,
    sync::{Arc, LazyLock},
    time::Duration,
};

use hyper::StatusCode;
use pixeld::{
    connection::{self, DetachedConnection, ServeOutcome, WorkerContext},
    http::Policy,
    log::{Level, Log, Sink},
    net::Socket,
    stats::{SharedStats, WorkerStats},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    runtime::{Builder, Runtime},
    task::yield_now,
    time::timeout,
};

use super::response::{self, Response};

/// A connection that is not over by then hangs. No timeout of pixeld's is needed for its end when
/// the client has ended it.
const LONGEST: Duration = Duration::from_secs(5);

/// What is left behind these is sent at once, or a byte at a time would take most of the time.
const MOST_PIECES: usize = 64;

/// pixeld answers a connection with HTTP and nothing else, and the same however it is cut.
///
/// The first line of the input says how it is sent: a letter for the [`Manner`], then a character
/// for the length of each piece, over and over (`!` is 1, `"` is 2, … `~` is 94). The rest is what
/// is sent.
pub fn connection(input: &[u8]) {
    let line = input.iter().position(|byte| *byte == b'\n');
    let (plan, sent) = line.map_or((&b""[..], input), |end| (&input[..end], &input[end + 1..]));
    let (manner, lengths) = match plan {
        [b'm', lengths @ ..] => (Manner::Moved, lengths),
        [b'w', lengths @ ..] => (Manner::Waiting, lengths),
        [_, lengths @ ..] => (Manner::HalfClosing, lengths),
        [] => (Manner::HalfClosing, plan),
    };
    let in_pieces = talk(&cut(sent, lengths), sent, manner);
    if manner != Manner::Waiting {
        let at_once = answers(sent);
        assert_eq!(in_pieces, at_once, "in pieces (left) and at once (right) differ");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// The client shuts down its writing side behind the last piece.
    HalfClosing,
    /// The same, and the connection is asked to another worker before each piece.
    Moved,
    /// The client keeps its writing side open; pixeld's timeouts end the connection.
    Waiting,
}

fn cut<'a>(mut sent: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let lengths = lengths.iter().map(|letter| usize::from(letter.wrapping_sub(b' ')).max(1));
    let mut pieces = Vec::new();
    for length in lengths.cycle().take(MOST_PIECES) {
        let (piece, rest) = sent.split_at(length.min(sent.len()));
        pieces.push(piece);
        sent = rest;
        if sent.is_empty() {
            break;
        }
    }
    pieces.push(sent);
    pieces
}

/// What is answered to a client that sends this at once and ends.
pub fn answers(sent: &[u8]) -> Vec<Response> {
    talk(&[sent], sent, Manner::HalfClosing)
}

/// Sends these pieces and returns what was answered.
fn talk(pieces: &[&[u8]], sent: &[u8], manner: Manner) -> Vec<Response> {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    }
    static MEMORY: LazyLock<Arc<SharedStats>> =
        LazyLock::new(|| Arc::new(SharedStats::create(0).expect("memory for counters")));
    static LOG: LazyLock<Log> =
        LazyLock::new(|| Log::start(Sink::function(|_| {}), Level::Debug).expect("a thread for the log"));

    let stats = Arc::new(WorkerStats::new(MEMORY.clone(), 1));
    let context = Rc::new(WorkerContext::new(1, stats, LOG.clone(), policy(manner)));
    let exchange = async {
        let (server, client) = StdStream::pair().expect("a pair of sockets");
        server.set_nonblocking(true).expect("a socket that does not block");
        client.set_nonblocking(true).expect("a socket that does not block");
        let serve = async {
            let mut parked = DetachedConnection::new(Socket::adopt(server.into()).unwrap(), None);
            while let Some(serving) = connection::serve(parked, context.clone(), identity)
                && let ServeOutcome::Detached(again) = serving.await
            {
                parked = again;
            }
        };
        let client = UnixStream::from_std(client).expect("a socket for tokio");
        let ((), received) = tokio::join!(serve, ask(client, pieces, manner, &context));
        received
    };
    let received = RUNTIME.with(|runtime| runtime.block_on(async { timeout(LONGEST, exchange).await }));
    let responses = response::read_all(&received.expect("the connection hangs"), sent);
    // Each request says HTTP/1, and what is none gets one answer, the last.
    let requests = sent.windows(7).filter(|window| *window == b"HTTP/1.").count();
    assert!(responses.len() <= requests + 1, "more answers than requests: {responses:?}");
    responses
}

/// The client's side, from its first byte to its close.
async fn ask(mut stream: UnixStream, pieces: &[&[u8]], manner: Manner, context: &WorkerContext) -> Vec<u8> {
    let (mut reader, mut writer) = stream.split();
    let write = async {
        for piece in pieces {
            if manner == Manner::Moved {
                context.connections.move_away(1);
            }
            // A server that has refused what came first need not take the rest.
            if writer.write_all(piece).await.is_err() {
                return;
            }
            // The runtime looks at its sockets whenever a task yields, so the server gets this far.
            for _ in 0..3 {
                yield_now().await;
            }
        }
        if manner != Manner::Waiting {
            let _ = writer.shutdown().await;
        }
    };
    let read = async {
        let mut received = Vec::new();
        let end = reader.read_to_end(&mut received).await;
        // An idle timeout may cross with more requests, but otherwise no reset hides an answer.
        assert!(end.is_ok() || manner == Manner::Waiting, "{end:?}");
        received
    };
    tokio::join!(write, read).1
}

/// Bytes of a body.
pub const BODY_LIMIT: usize = 8 << 10;

/// Limits that a small input can reach.
fn policy(manner: Manner) -> Policy {
    let timeout = if manner == Manner::Waiting { Duration::from_millis(2) } else { LONGEST * 2 };
    Policy {
        body_limit: BODY_LIMIT,
        head_limit: 1 << 10,
        requests_limit: 20,
        head_timeout: timeout,
        body_timeout: timeout,
        write_timeout: timeout,
        keep_alive_timeout: timeout,
        range_error_status: StatusCode::UNPROCESSABLE_ENTITY,
    }
}
