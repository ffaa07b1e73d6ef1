//! What connections of one worker share: they take turns, and none of them does everything that it
//! could at once; and as most of them wait, they are small.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    rc::Rc,
    sync::Arc,
};

use pixeld::{
    config::Settings,
    connection::{DetachedConnection, WorkerContext, serve},
    http::Policy,
    log::{Level, Log, Sink},
    net::Socket,
    stats::{SharedStats, Totals, WorkerStats},
};
use tokio::{
    runtime::{Builder, LocalOptions},
    task::{spawn_local, yield_now},
};

use crate::support::PIXEL;

fn post_with(fields: &str) -> String {
    let length = PIXEL.len();
    format!(
        "POST /pixel HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n{fields}content-length: {length}\r\n\r\n{PIXEL}"
    )
}

fn post() -> String {
    post_with("")
}

fn policy() -> Policy {
    let mut settings = Settings::default();
    settings.limits.requests_per_connection = usize::MAX;
    Policy::from(&settings)
}

/// Serves one more connection; its client does not block.
fn connect(context: &Rc<WorkerContext>) -> UnixStream {
    let (server, client) = UnixStream::pair().unwrap();
    server.set_nonblocking(true).unwrap();
    client.set_nonblocking(true).unwrap();
    let connection = DetachedConnection::new(Socket::adopt(server.into()).unwrap(), None);
    spawn_local(serve(connection, context.clone(), drop).unwrap());
    client
}

/// Whether something comes back now.
fn is_answered(client: &mut UnixStream) -> bool {
    match client.read(&mut [0; 1024]) {
        Ok(length) => length > 0,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            false
        }
    }
}

fn context(memory: &Arc<SharedStats>) -> Rc<WorkerContext> {
    let stats = Arc::new(WorkerStats::new(memory.clone(), 1));
    let log = Log::start(Sink::function(|_| {}), Level::Warn).unwrap();
    Rc::new(WorkerContext::new(1, stats, log, policy()))
}

#[test]
fn pipelining_client_does_not_starve_others() {
    // Through hyper, too.
    for request in [post(), post_with("content-encoding: identity\r\n")] {
        others_are_answered_before(&request.repeat(50));
    }
}

fn others_are_answered_before(fifty: &str) {
    let memory = Arc::new(SharedStats::create(0).unwrap());
    let context = context(&memory);
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        let mut greedy = connect(&context);
        let mut sent = 0;
        while greedy.write_all(fifty.as_bytes()).is_ok() {
            sent += 50;
        }
        assert!(sent > 600, "only {sent} requests fit into a socket");
        let mut modest = connect(&context);
        modest.write_all(post().as_bytes()).unwrap();

        for _ in 0..100 {
            yield_now().await;
            if is_answered(&mut modest) {
                let answered = Totals::sum(memory.workers()).requests();
                assert!(answered < 200, "{answered} of {sent} requests came first");
                return;
            }
        }
        panic!("the other client is not answered at all");
    });
}

#[test]
fn idle_connection_is_small() {
    let context = context(&Arc::new(SharedStats::create(0).unwrap()));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let (server, _client) = UnixStream::pair().unwrap();
    server.set_nonblocking(true).unwrap();
    let connection = DetachedConnection::new(Socket::adopt(server.into()).unwrap(), None);
    let serving = serve(connection, context, drop).unwrap();
    let bytes = size_of_val(&serving);
    assert!(bytes <= 640, "{bytes} bytes, without what it has on the heap");
}
