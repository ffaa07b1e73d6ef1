use std::{
    convert::Infallible,
    future::Future,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{self, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, Version,
    body::{Body, Frame, Incoming},
    header::{CONTENT_TYPE, EXPECT},
    http::request::Parts,
    service::Service,
};

use tokio::time::Instant;

use super::{
    answer::Answer,
    buf_list::BufList,
    check::{self, Framing},
    context::Context,
    express::LongResponse,
    judge,
    track::Track,
};
use crate::{
    log::{Event, Level},
    stats::Outcome,
};

/// Answers the requests of one connection.
#[derive(Debug)]
pub struct PixelService<'c> {
    pub context: &'c Context,
    pub track: Rc<Track>,
}

impl<'c> Service<Request<Incoming>> for PixelService<'c> {
    type Response = Response<Full<BufList>>;
    type Error = Infallible;
    type Future = Exchange<'c>;

    fn call(&self, request: Request<Incoming>) -> Exchange<'c> {
        let nth = self.track.begin_request();
        let policy = self.context.policy();
        let (head, body) = request.into_parts();
        let framing = check::framing(&head.headers);
        Exchange {
            context: self.context,
            track: self.track.clone(),
            real_ip: real_ip(&head.headers),
            is_json: head.headers.get(CONTENT_TYPE).is_some_and(|value| is_json_type(value.as_bytes())),
            refusal: refusal(self.context, &head, framing, &body),
            persistence: if framing != Framing::Length || nth >= policy.requests_limit {
                // hyper does not tell whether a chunked request had a Content-Length too, after which
                // nothing may be taken for a request (RFC 9112 §6.1).
                Persistence::Close
            } else if head.version < Version::HTTP_11 || check::requests_close(&head.headers) {
                Persistence::LeftToHyper
            } else {
                Persistence::KeepAlive
            },
            is_handed_over: false,
            body,
            received: Received::default(),
            bytes_received: 0,
        }
    }
}

/// What is wrong with a request, as far as its head tells.
fn refusal(context: &Context, head: &Parts, framing: Framing, body: &Incoming) -> Option<Answer> {
    let is_too_large = body.size_hint().lower() > context.policy().body_limit as u64;
    let outcome = if framing == Framing::Unknown {
        Outcome::NotImplemented
    } else if !check::has_valid_host(head.version, &head.uri, &head.headers) {
        Outcome::Malformed
    } else if context.stats.is_drained() {
        Outcome::Unavailable
    } else if head.uri.path() != "/pixel" {
        Outcome::NotFound
    } else if head.method != Method::POST {
        Outcome::MethodNotAllowed
    } else if !check::is_plain(&head.headers) {
        Outcome::UnsupportedMediaType
    } else if is_too_large {
        Outcome::TooLarge
    } else {
        return None;
    };
    // The body of a refused request is read all the same, so that the next request can follow;
    // but not when it is too large, or its client waits to be asked for it.
    let is_end = matches!(outcome, Outcome::NotImplemented | Outcome::Malformed | Outcome::Unavailable)
        || is_too_large
        || head.headers.contains_key(EXPECT);
    let answer = Answer::refusal(outcome);
    Some(if is_end { answer.and_close() } else { answer })
}

/// Whether a connection stays open after a response (RFC 9112 §9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Persistence {
    KeepAlive,
    /// The client may want it closed. A response that hyper does not send is the last one then.
    LeftToHyper,
    Close,
}

/// One request on its way to its answer.
#[derive(Debug)]
pub struct Exchange<'c> {
    context: &'c Context,
    track: Rc<Track>,
    real_ip: Option<IpAddr>,
    is_json: bool,
    body: Incoming,
    received: Received,
    bytes_received: usize,
    refusal: Option<Answer>,
    persistence: Persistence,
    /// The connection has the response.
    is_handed_over: bool,
}

impl Exchange<'_> {
    /// Longer bodies are sent without hyper.
    const LONGEST_THROUGH_HYPER: usize = 4 << 10;

    /// Hands a long response to the connection.
    fn send_without_hyper(&self, answer: &Answer) {
        let mut head = Vec::new();
        let is_last = answer.close || self.persistence != Persistence::KeepAlive;
        self.context.heads.write(Instant::now(), answer.status, answer.body.remaining(), is_last, &mut head);
        let mut bytes = BufList::from(Bytes::from(head));
        answer.body.iter().for_each(|piece| bytes.push(piece.clone()));
        self.track.send_without_hyper(LongResponse { bytes: bytes.into(), is_last });
    }
}

impl Future for Exchange<'_> {
    type Output = Result<Response<Full<BufList>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.is_handed_over {
            // hyper asks again when it has sent something.
            return Poll::Pending;
        }
        let mut answer = match this.refusal.take_if(|refusal| refusal.close) {
            Some(refusal) => refusal,
            None => ready!(this.poll_answer(cx)),
        };
        answer.close |=
            this.persistence == Persistence::Close || this.context.is_retiring() || this.track.is_to_close();
        this.context.stats.record_outcome(answer.outcome);
        tell_refusal(this.context, || client(this.real_ip, &this.track), &answer);
        if answer.body.remaining() > Self::LONGEST_THROUGH_HYPER {
            this.send_without_hyper(&answer);
            this.is_handed_over = true;
            return Poll::Pending;
        }
        this.track.answer(answer.close);
        Poll::Ready(Ok(answer.into_response()))
    }
}

impl Exchange<'_> {
    /// Reads the whole body, also that of a refused request, for the next one stands behind it.
    fn poll_answer(&mut self, cx: &mut task::Context<'_>) -> Poll<Answer> {
        let policy = self.context.policy();
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(frame)) => frame,
                Poll::Ready(None) => break,
                Poll::Pending => {
                    self.track.set_body_left(self.body.size_hint().exact());
                    return Poll::Pending;
                }
            };
            let fault = match frame.map(Frame::into_data) {
                Ok(Ok(data)) => {
                    self.bytes_received += data.len();
                    if self.refusal.is_none() {
                        self.received.append(data);
                    }
                    (self.bytes_received > policy.body_limit).then_some(Outcome::TooLarge)
                }
                // Trailers.
                Ok(Err(_)) => None,
                Err(_) => Some(Outcome::Malformed),
            };
            if let Some(fault) = fault {
                // What was wrong before is still what is wrong.
                let refusal = self.refusal.take().unwrap_or_else(|| Answer::refusal(fault));
                return Poll::Ready(refusal.and_close());
            }
        }
        if let Some(refusal) = self.refusal.take() {
            return Poll::Ready(refusal);
        }
        let judged =
            judge::guarded(self.received.as_slice(), |body| Answer::to_body(body, self.is_json, &policy));
        Poll::Ready(judged.unwrap_or_else(|| Answer::refusal(Outcome::Failed).and_close()))
    }
}

/// Tells the log of a request that was refused.
pub fn tell_refusal(context: &Context, client: impl FnOnce() -> String, answer: &Answer) {
    if !answer.status.is_success() && context.log.wants(Level::Debug) {
        context.log.send(Event::RequestRejected {
            worker: context.worker,
            client: client(),
            status: answer.status.as_u16(),
            reason: answer.reason(),
        });
    }
}

/// The bytes of a body. One that came in one piece, as nearly all do, is not copied.
#[derive(Debug, Default)]
struct Received {
    first: Bytes,
    all: BytesMut,
}

impl Received {
    fn append(&mut self, data: Bytes) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = data;
        } else {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
            self.all.extend_from_slice(&data);
        }
    }

    fn as_slice(&self) -> &[u8] {
        if self.all.is_empty() { &self.first } else { &self.all }
    }
}

/// `application/json` or `application/*+json`, with any parameters (RFC 9110 §8.3.1, RFC 6839 §3.1).
/// A second slash spoils it, and blanks are those of Latin-1: so it is in Python.
pub fn is_json_type(value: &[u8]) -> bool {
    const BLANKS: [u8; 4] = [b' ', b'\t', 0x85, 0xA0];
    if value == b"application/json" {
        return true;
    }
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
    let begin = essence.iter().position(|byte| !BLANKS.contains(byte)).unwrap_or_default();
    let end = essence.iter().rposition(|byte| !BLANKS.contains(byte)).map_or(begin, |last| last + 1);
    let Some((kind, subtype)) = essence[begin..end].split_at_checked(b"application/".len()) else {
        return false;
    };
    let has_suffix = subtype.len() >= 5 && subtype[subtype.len() - 5..].eq_ignore_ascii_case(b"+json");
    let is_json = subtype.eq_ignore_ascii_case(b"json") || has_suffix && !subtype.contains(&b'/');
    kind.eq_ignore_ascii_case(b"application/") && is_json
}

/// What the proxy in front says of its client.
fn real_ip(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get("x-real-ip")?.to_str().ok()?.parse().ok()
}

/// Who sent a request, for the log.
pub fn client(real_ip: Option<IpAddr>, track: &Track) -> String {
    match (real_ip, track.peer) {
        (Some(ip), _) => ip.to_string(),
        (None, Some(peer)) => peer.to_string(),
        (None, None) => "unix".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_content_types_are_json() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.api+json", true),
            ("application/json ;x", true),
            ("application/+json", true),
            ("application/a/b+json", false),
            ("text/json", false),
            ("application/jsonx", false),
            ("application/", false),
            ("", false),
        ] {
            assert_eq!(is_json_type(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn a_body_in_pieces_is_put_together() {
        let mut received = Received::default();
        for piece in ["", "{\"x\"", ":", "1}"] {
            received.append(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!(received.as_slice(), b"{\"x\":1}");
    }
}
