use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::coop,
    time::{Instant, sleep, timeout},
};

use super::{
    answer::Answer,
    context::Context,
    eviction::Place,
    express::{self, Leaves},
    io::Io,
    replay::{Recorder, Replay},
    service::{PixelService, client, tell_refusal},
    track::{Recall, Stage, Track},
    turn::give_way,
};
use crate::{
    log::{Event, Level},
    net::Socket,
    stats::Outcome,
};

/// A connection that belongs to no thread: no response is in flight, and of a request only what is unread.
#[derive(Debug)]
pub struct Parked {
    /// The socket.
    pub socket: Socket,
    /// The address of its other end, where that has one.
    pub peer: Option<SocketAddr>,
    /// What was read from it and not answered.
    pub unread: Bytes,
    /// Requests that were answered on it.
    pub requests: usize,
    /// Where it is in the order in which connections give way, once it is on its way to a worker.
    pub place: Option<Place>,
}

impl Parked {
    /// Bytes that can be unread of a connection that is handed off with an incomplete request.
    pub const MAX_UNREAD: usize = 60 << 10;

    /// A connection that was just accepted.
    pub fn new(socket: Socket, peer: Option<SocketAddr>) -> Self {
        Self { socket, peer, unread: Bytes::new(), requests: 0, place: None }
    }
}

/// How serving a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// It is closed.
    Closed,
    /// It was asked back, is idle, and may go on elsewhere.
    Parked(Parked),
}

/// Serves one connection until it closes, times out, or is asked back. Its worker knows of it from
/// this call on, not only when the future is polled.
pub fn serve(parked: Parked, context: Rc<Context>) -> impl Future<Output = Ended> {
    let entered = context.connections.enter(parked.peer, parked.requests, parked.place);
    let io = Io::new(parked.socket.into_stream(), parked.unread, entered.track.clone());
    async move { serve_io(io, &context, &entered.track).await }
}

async fn serve_io(mut io: Io, context: &Context, track: &Rc<Track>) -> Ended {
    let mut way = Way::new(context);
    loop {
        let next = match way {
            Way::Express => after_express(express::run(&mut io, context, track).await, &io, context, track),
            // Boxed, for it is large, and few connections are on it at a time.
            Way::Hyper { to_finish } => match Box::pin(session(&mut io, context, track, to_finish)).await {
                Session::Finished(result) => after_end(result, context, track),
                Session::TimedOut(stage) => after_timeout(stage, track),
                Session::Evicted => Next::Evict,
                Session::Long => {
                    // As below.
                    give_way().await;
                    way = Way::Express;
                    continue;
                }
                Session::Left => while_idle(&io, context, track),
                Session::HandedOff => Next::Park,
                Session::Answered => {
                    // Who has sent the next request already takes turns with the others.
                    give_way().await;
                    if track.recalled().is_some() { while_idle(&io, context, track) } else { Next::Serve }
                }
            },
        };
        match next {
            Next::Serve => {
                way = Way::new(context);
                continue;
            }
            Next::Hyper => {
                way = Way::Hyper { to_finish: false };
                continue;
            }
            Next::Finish => {
                way = Way::Hyper { to_finish: true };
                continue;
            }
            Next::Park => return park(io, track),
            // Boxed, or every connection would have room for them all the time.
            Next::Close => Box::pin(close(io, track)).await,
            Next::Refuse(outcome) => Box::pin(refuse(io, context, track, outcome)).await,
            Next::Evict => evict(io, context, track),
            Next::Drop => {}
            Next::Abandon(reason) => tell(context, client(None, track), &reason),
            Next::Cut => cut(context, track),
        }
        return Ended::Closed;
    }
}

/// Which way the next request goes.
enum Way {
    /// The short one.
    Express,
    /// Through hyper. When it is `to_finish`, the input is there and is answered, as the last.
    Hyper { to_finish: bool },
}

impl Way {
    fn new(context: &Context) -> Self {
        if context.express { Self::Express } else { Self::Hyper { to_finish: false } }
    }
}

/// What to do with a connection next.
enum Next {
    /// Go on.
    Serve,
    /// Go on through hyper: the next request asks for it.
    Hyper,
    /// Go on until the request that has already arrived is answered, as the last one.
    Finish,
    /// Give it to another worker.
    Park,
    /// Close it, and see that what was sent arrives.
    Close,
    /// Send this answer, as the last one.
    Refuse(Outcome),
    /// Answer an incomplete request with 408 and close at once: another client needs the place.
    Evict,
    /// Close it at once: everything that was sent has arrived long ago, or nothing comes that could
    /// overtake it.
    Drop,
    /// Drop it, for its client does not take its answers.
    Cut,
    /// Drop it, for it has broken off.
    Abandon(String),
}

fn after_express(leaves: Leaves, io: &Io, context: &Context, track: &Track) -> Next {
    match leaves {
        Leaves::Odd => Next::Hyper,
        Leaves::Idle => while_idle(io, context, track),
        Leaves::Ended => {
            track.peer_ended();
            Next::Close
        }
        Leaves::Last => Next::Close,
        Leaves::Done => Next::Drop,
        Leaves::Stuck => Next::Cut,
        Leaves::Failed(error) => Next::Abandon(error.to_string()),
    }
}

fn after_end(result: hyper::Result<()>, context: &Context, track: &Track) -> Next {
    let Err(error) = result else {
        // hyper forgets what it has not sent where a client has asked for another protocol.
        return if track.unsent_since().is_some() { Next::Cut } else { Next::Close };
    };
    if track.is_own_refusal_dropped() || error.is_parse_version_h2() {
        Next::Refuse(outcome_of(&error))
    } else if error.is_parse() {
        let answer = Answer::refusal(outcome_of(&error));
        count_refusal(context, track, &answer);
        Next::Close
    } else if track.is_broken_off() {
        Next::Refuse(Outcome::Malformed)
    } else {
        Next::Abandon(error.to_string())
    }
}

fn after_timeout(stage: Stage, track: &Track) -> Next {
    if stage == Stage::Answer || track.unsent_since().is_some() {
        // Another answer would stand inside the one that is on its way.
        Next::Cut
    } else {
        Next::Refuse(Outcome::TimedOut)
    }
}

fn while_idle(io: &Io, context: &Context, track: &Track) -> Next {
    match track.recalled() {
        Some(Recall::Move | Recall::HandOff) => Next::Park,
        Some(Recall::Close | Recall::Evict) if io.has_input() => Next::Finish,
        Some(Recall::Close | Recall::Evict) => Next::Drop,
        // A request that has just arrived is answered, though it is late.
        None if track.is_expired(&context.policy()) && !io.has_input() => Next::Close,
        None => Next::Serve,
    }
}

/// What became of the time that hyper had a connection.
enum Session {
    /// The connection is at its end.
    Finished(hyper::Result<()>),
    /// It is idle, or at the begin of a head, and was asked back; or it has been idle for a while.
    Left,
    /// A request was answered, and the next one may go the short way. Its begin may be there already,
    /// which hyper would not tell as long as it has it.
    Answered,
    /// It goes to the next process with an incomplete request.
    HandedOff,
    /// The response is long, and sent without hyper.
    Long,
    /// It has been in this stage for too long.
    TimedOut(Stage),
    /// It was chosen to give way, and its request is incomplete.
    Evicted,
}

/// Answers what hyper could not, and closes.
async fn refuse(mut io: Io, context: &Context, track: &Track, outcome: Outcome) {
    let answer = Answer::refusal(outcome);
    count_refusal(context, track, &answer);
    track.refuse();
    // So few bytes fit into any socket's buffer, unless the client does not take its answers.
    let bytes = answer.into_last_bytes();
    let send = io.stream.write_all(&bytes);
    match timeout(context.policy().write_timeout, send).await {
        Ok(Ok(())) => {
            context.stats.sent(bytes.len());
            context.stats.record_latency(track.begun().elapsed(), 1);
            close(io, track).await;
        }
        Ok(Err(error)) => tell(context, client(None, track), &error),
        Err(_) => cut(context, track),
    }
}

/// Answers an incomplete request with 408, if that can be sent at once, and closes without waiting for the
/// client: it could keep its place that way.
fn evict(mut io: Io, context: &Context, track: &Track) {
    const MOST: u64 = 64 << 10;

    let answer = Answer::refusal(Outcome::TimedOut);
    count_refusal(context, track, &answer);
    track.refuse();
    let bytes = answer.into_last_bytes();
    if let Some(Ok(sent)) = io.stream.write(&bytes).now_or_never() {
        context.stats.sent(sent);
        context.stats.record_latency(track.begun().elapsed(), 1);
    }
    // What is left unread would become a reset, which may overtake the response.
    let mut sink = tokio::io::sink();
    let _ = tokio::io::copy(&mut io.stream.take(MOST), &mut sink).now_or_never();
}

fn count_refusal(context: &Context, track: &Track, answer: &Answer) {
    context.stats.record_outcome(answer.outcome);
    tell_refusal(context, || client(None, track), answer);
}

fn outcome_of(error: &hyper::Error) -> Outcome {
    if error.is_parse_too_large() {
        Outcome::HeadTooLarge
    } else if error.to_string() == "invalid transfer-encoding parsed" {
        // hyper has no better name for it; a test holds on to it.
        Outcome::NotImplemented
    } else {
        Outcome::Malformed
    }
}

/// Lets hyper have the connection until one of these, and takes back what it has read and not used. When
/// it is `to_finish`, being idle is no reason to stop: its input is there, only hyper has not been told
/// yet.
async fn session(io: &mut Io, context: &Context, track: &Rc<Track>, to_finish: bool) -> Session {
    let policy = context.policy();
    // Or hyper would read on, and answer up to 16 long requests before anybody else has a turn.
    io.begin_turn(to_finish);
    let service = PixelService { context, track: track.clone() };
    let replay = Replay::new(Parked::MAX_UNREAD.min(policy.head_limit.saturating_add(policy.body_limit)));
    let mut http = http1::Builder::new()
        .half_close(true)
        .max_header_size(policy.head_limit)
        .max_buf_size(policy.head_limit.max(policy.body_limit))
        .serve_connection(TokioIo::new(Recorder::new(io, &replay)), service);
    let mut timer = pin!(sleep(policy.shortest_timeout()));
    let (answered_before, mut adoptions) = (track.requests(), context.adoptions());
    let mut turn = pin!(give_way());
    let mut has_given_way = false;

    let mut incomplete = None;
    let end = poll_fn(|cx| {
        track.wakes(cx.waker());
        loop {
            // Not without the shutdown: that would not wait until the last answer is sent.
            if let Poll::Ready(result) = Pin::new(&mut http).poll(cx) {
                return Poll::Ready(Session::Finished(result));
            }
            if track.is_long_response_due() {
                return Poll::Ready(Session::Long);
            }
            if track.stage() == Stage::Idle && !to_finish {
                if track.recalled().is_some() {
                    return Poll::Ready(Session::Left);
                }
                if track.requests() > answered_before {
                    return Poll::Ready(Session::Answered);
                }
            }
            // What is there of a head goes along, or a slow client would keep its worker from leaving.
            let goes_on_elsewhere = matches!(track.recalled(), Some(Recall::Move | Recall::HandOff));
            if track.stage() == Stage::Head && goes_on_elsewhere {
                return Poll::Ready(Session::Left);
            }
            if track.is_evicted() && track.is_incomplete() {
                // The rest of the request may have come already, but hyper knows that only after epoll has
                // been asked; and it may have read a part of it only.
                has_given_way = has_given_way || turn.as_mut().poll(cx).is_ready();
                if has_given_way {
                    if coop::has_budget_remaining() {
                        return Poll::Ready(Session::Evicted);
                    }
                    cx.waker().wake_by_ref();
                }
            }
            // A body is decoded by the process that has its head.
            let is_to_hand_off = track.recalled() == Some(Recall::HandOff) && !track.stays();
            if track.stage() == Stage::Body && is_to_hand_off {
                incomplete = replay.take(track.requests() - answered_before - 1);
                if incomplete.is_some() {
                    return Poll::Ready(Session::HandedOff);
                }
                track.is_bound_here();
            }
            if adoptions != context.adoptions() {
                adoptions = context.adoptions();
                timer.as_mut().reset(Instant::now());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Stages begin and end without touching the timer. It fires at least as often as any
            // stage could end, and only then is looked at when the present one does.
            let policy = context.policy();
            let now = Instant::now();
            let (stage, since) = match track.unsent_since() {
                // Whatever the client has sent meanwhile: no input is read, and it gets no more time.
                Some(unsent_since) => (Stage::Answer, unsent_since),
                None => (track.stage(), track.since()),
            };
            let deadline = since + policy.timeout(stage);
            if deadline <= now {
                return Poll::Ready(match stage {
                    Stage::Idle => Session::Left,
                    stage => Session::TimedOut(stage),
                });
            }
            timer.as_mut().reset(deadline.min(now + policy.shortest_timeout()));
        }
    })
    .await;
    let lent = http.into_parts();
    let io = lent.io.into_inner().into_inner();
    if let Some(incomplete) = incomplete {
        // What hyper has not used is a part of it.
        io.unread(incomplete.into());
        track.give_back_request();
    } else if !(matches!(end, Session::Long) && track.is_last_answer()) {
        // What is behind the last request is not looked at. What is behind another one is copied, or it would
        // keep the memory of that one.
        io.unread(Bytes::copy_from_slice(&lent.read_buf));
    }
    end
}

/// Closes so that the last answer is not lost: a socket that is closed with unread input sends a
/// reset, which may overtake it. So: say that nothing follows, and read on for a while.
async fn close(mut io: Io, track: &Track) {
    const LONGEST: Duration = Duration::from_secs(1);
    const MOST: u64 = 1 << 20;

    track.close();
    if track.is_ended_by_peer() || io.stream.shutdown().await.is_err() {
        return;
    }
    let discard = async {
        let mut sink = tokio::io::sink();
        tokio::io::copy(&mut io.stream.take(MOST), &mut sink).await
    };
    let evicted = poll_fn(|cx| {
        track.wakes(cx.waker());
        if track.is_evicted() { Poll::Ready(()) } else { Poll::Pending }
    });
    // In this order, so that nothing that has come is left unread.
    let end = async {
        tokio::select! { biased; _ = discard => {}, () = evicted => {} }
    };
    let _ = timeout(LONGEST, end).await;
}

fn cut(context: &Context, track: &Track) {
    context.stats.write_timed_out();
    tell(context, client(None, track), &"the client did not take its answers in time");
}

fn park(io: Io, track: &Track) -> Ended {
    let (stream, unread) = io.into_parts();
    match stream.into_socket() {
        Ok(socket) => {
            let (peer, requests) = (track.peer, track.requests());
            Ended::Parked(Parked { unread, requests, ..Parked::new(socket, peer) })
        }
        Err(_) => Ended::Closed,
    }
}

fn tell(context: &Context, client: String, reason: &dyn std::fmt::Display) {
    if context.log.wants(Level::Debug) {
        context.log.send(Event::Disconnected { worker: context.worker, client, reason: reason.to_string() });
    }
}
