use std::{
    future::Future,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    task::{self, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response,
    body::{Body, Incoming},
    header::{CONTENT_TYPE, EXPECT},
    service::Service,
};

use super::{
    answer::Answer,
    context::Context,
    track::{Stage, Track},
};
use crate::log::{Event, Level};

/// Answers the requests of one connection.
#[derive(Debug)]
pub struct PixelService<'c> {
    pub context: &'c Context,
    pub track: Rc<Track>,
}

impl<'c> Service<Request<Incoming>> for PixelService<'c> {
    type Response = Response<Full<Bytes>>;
    type Error = hyper::Error;
    type Future = Exchange<'c>;

    fn call(&self, request: Request<Incoming>) -> Exchange<'c> {
        self.track.enter(Stage::Body);
        let (head, body) = request.into_parts();
        let limit = self.context.policy().body_limit as u64;
        let refusal = if head.uri.path() != "/pixel" {
            Some(Answer::not_found())
        } else if head.method != Method::POST {
            Some(Answer::method_not_allowed())
        } else {
            None
        };
        let refusal = if body.size_hint().lower() > limit {
            Some(refusal.unwrap_or_else(Answer::too_large).and_close())
        } else if head.headers.contains_key(EXPECT) {
            // Who asks before sending a body is told at once that it is not wanted.
            refusal.map(Answer::and_close)
        } else {
            refusal
        };
        Exchange {
            context: self.context,
            track: self.track.clone(),
            real_ip: real_ip(&head.headers),
            is_json: is_json(&head.headers),
            body,
            received: Received::default(),
            refusal,
        }
    }
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
    refusal: Option<Answer>,
}

impl Future for Exchange<'_> {
    type Output = Result<Response<Full<Bytes>>, hyper::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let answer = match this.refusal.take_if(|refusal| refusal.close) {
            Some(refusal) => refusal,
            None => ready!(this.poll_answer(cx))?,
        };
        this.context.stats.answered(answer.outcome, this.received.len(), answer.body.len());
        this.tell(&answer);
        this.track.answer(answer.close);
        Poll::Ready(Ok(answer.into_response()))
    }
}

impl Exchange<'_> {
    /// Reads the whole body, also that of a refused request, for the next one stands behind it.
    fn poll_answer(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<Answer, hyper::Error>> {
        let policy = self.context.policy();
        while let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            if let Ok(data) = frame?.into_data() {
                self.received.append(data);
            }
            if self.received.len() > policy.body_limit {
                return Poll::Ready(Ok(Answer::too_large()));
            }
        }
        if let Some(refusal) = self.refusal.take() {
            return Poll::Ready(Ok(refusal));
        }
        let judge = || Answer::to_body(self.received.as_slice(), self.is_json, &policy);
        // A fault in here is one client's, not everybody's; the panic hook has told its message.
        Poll::Ready(Ok(catch_unwind(AssertUnwindSafe(judge)).unwrap_or_else(|_| Answer::failed())))
    }

    fn tell(&self, answer: &Answer) {
        if !answer.status.is_success() && self.context.log.wants(Level::Debug) {
            self.context.log.send(Event::Refused {
                worker: self.context.worker,
                client: client(self.real_ip, &self.track),
                status: answer.status.as_u16(),
                reason: answer.reason(),
            });
        }
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

    fn len(&self) -> usize {
        self.as_slice().len()
    }
}

/// `application/json` or `application/*+json`, with any parameters (RFC 9110 §8.3.1, RFC 6839 §3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let Some((kind, subtype)) = essence.split_at_checked(b"application/".len()) else { return false };
    let has_suffix = subtype.len() >= 5 && subtype[subtype.len() - 5..].eq_ignore_ascii_case(b"+json");
    kind.eq_ignore_ascii_case(b"application/") && (subtype.eq_ignore_ascii_case(b"json") || has_suffix)
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
            ("text/json", false),
            ("application/jsonx", false),
            ("application/", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(is_json(&headers), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
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
