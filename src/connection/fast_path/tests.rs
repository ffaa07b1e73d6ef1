use std::{
    convert::identity,
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::Arc,
    task::Waker,
};

use futures_util::FutureExt;
use tokio::time::advance;

use super::*;
use crate::{
    config::Settings,
    connection::{ServeOutcome, serve},
    log::{Level, Log, Sink},
    net::Socket,
    stats::{SharedStats, WorkerStats},
};

fn context() -> Rc<WorkerContext> {
    let stats = WorkerStats::new(Arc::new(SharedStats::create(0).unwrap()), 1);
    let log = Log::start(Sink::function(|_| {}), Level::Info).unwrap();
    Rc::new(WorkerContext::new(1, stats.into(), log, (&Settings::default()).into()))
}

fn pair() -> (DetachedConnection, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    (DetachedConnection::new(Socket::adopt(near.into()).unwrap(), None), far)
}

#[tokio::test(flavor = "current_thread")]
async fn long_response_is_sent_with_one_write() {
    let (connection, mut far) = pair();
    let body = format!(r#"{{"z":"{}"}}"#, "z".repeat(2000));
    let fields = format!("host: h\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    write!(far, "POST /pixel HTTP/1.1\r\n{fields}\r\n{body}").unwrap();
    let context = context();
    let state = context.connections.new_state(None, 0);
    let mut path = FastPath::new(connection.socket.into_stream(), Vec::new(), context, state);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(path.poll_requests(&mut cx), Poll::Ready(Ok(()))));
    assert!(path.unsent.is_none());
    drop(path);
    let mut response = String::new();
    far.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
    assert!(body.len() > 4 * 2000 && body.ends_with("]}"), "{body}");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn incomplete_header_section_keeps_its_deadline_elsewhere() {
    let context = context();
    let timeout = context.policy().head_timeout;
    let (connection, mut far) = pair();
    far.write_all(b"POST /pixel HTTP/1.1\r\n").unwrap();
    let begun = Instant::now();
    let mut serving = pin!(serve(connection, context.clone(), identity).unwrap());
    assert!(serving.as_mut().now_or_never().is_none(), "the header section is incomplete");
    advance(timeout / 2).await;
    context.connections.move_away(1);
    let ServeOutcome::Detached(moved) = serving.await else { panic!("it was closed") };
    assert_eq!(moved.begun, Some(begun));
    assert!(matches!(serve(moved, context, identity).unwrap().await, ServeOutcome::Closed));
    // The client had a second to read the response.
    assert!(begun.elapsed() < timeout + timeout / 2, "{:?}", begun.elapsed());
    let mut response = String::new();
    far.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
}
