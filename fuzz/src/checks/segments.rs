use hyper::StatusCode;
use pixeld::{
    http::Policy,
    stats::{Outcome, Totals},
};

use super::{
    response,
    scenario::{Scenario, Seen, Step, TICK},
};

/// What is left behind these is sent at once, or a byte at a time would take most of the time.
const MOST_STEPS: usize = 96;

/// A client that sends byte by byte sends no more pieces than so many.
const MOST_BYTES: usize = 512;

/// Seconds that a connection stays behind its last response, if the client may send more.
const LINGER: u64 = 1;

/// pixeld answers a connection the same whether what comes at a time comes at once or byte by byte.
///
/// The first line of the input says how it is sent. Its first character is for the limits, see
/// [`limits`]; the others are steps, over and over until all is sent and they are through. Most of them send a piece: `!`
/// is a byte, `"` are two, … `@` are 32, `A` are 32 too, `B` 64, … `Z` 832. The rest is in
/// [`step`]. Behind the line is what is sent.
pub fn segments(input: &[u8]) {
    let line = input.iter().position(|byte| *byte == b'\n');
    let (plan, sent) = line.map_or((&b""[..], input), |end| (&input[..end], &input[end + 1..]));
    let (flags, plan) =
        plan.split_first().map_or((0, plan), |(flags, plan)| (flags.wrapping_sub(b' '), plan));
    let sent = if flags & 8 == 0 { sent.to_vec() } else { sent.repeat(24) };
    let steps = steps(plan, &sent);
    let cut = cut(&steps, sent.len());
    let blocks = plan.contains(&b'r');
    let play = |steps| {
        Scenario {
            policies: [limits(flags), limits(flags ^ 7)],
            steps,
            half_closes: !plan.contains(&b'w'),
            blocks,
        }
        .play()
    };
    let (whole, mut bytes) = (play(&steps), play(&cut));
    if blocks && (is_given_up(&whole) || is_given_up(&bytes)) {
        // How much fits into a socket's buffer depends on the sizes of the writes, and so does whether
        // it is waited for a client to read or to go on sending.
        let answers = [&whole, &bytes].map(|seen| before_timeout(&seen.answers));
        let common = answers[0].len().min(answers[1].len());
        let [whole, bytes] = answers.map(|answers| text(&answers[..common]));
        assert_eq!(whole, bytes, "until it is given up");
        return;
    }
    check_counters(&whole, &sent);
    check_counters(&bytes, &sent);
    if whole.took.as_secs() == bytes.took.as_secs() + LINGER && says_last(&sent) {
        // Something came behind the last request only if it came with it: a connection that is closed
        // already gets no more.
        bytes.took = whole.took;
    }
    assert_eq!(comparable(&whole), comparable(&bytes), "at once (left) and byte by byte (right) differ");
}

/// The same steps, but what is sent at a time comes byte by byte. What comes at the same time as something else
/// stays as it is.
fn cut<'s>(steps: &[Step<'s>], length: usize) -> Vec<Step<'s>> {
    let is_rush = |nth: Option<usize>| nth.is_some_and(|nth| matches!(steps.get(nth), Some(Step::Rush)));
    let mut cut = Vec::new();
    for (nth, step) in steps.iter().enumerate() {
        match step {
            Step::Send(piece) if !is_rush(nth.checked_sub(1)) && !is_rush(Some(nth + 1)) => {
                cut.extend(piece.chunks(length / MOST_BYTES + 1).map(Step::Send));
            }
            step => cut.push(*step),
        }
    }
    cut
}

/// Whether the client may say that a request is its last.
fn says_last(sent: &[u8]) -> bool {
    let sent = sent.to_ascii_lowercase();
    response::contains(&sent, b"http/1.0") || response::contains(&sent, b"close")
}

/// Whether its client was too slow.
fn is_given_up(seen: &Seen) -> bool {
    seen.totals.write_timeouts > 0 || seen.totals.outcome(Outcome::TimedOut) > 0
}

/// The answers up to that to a request which did not arrive in time, the last one if there is any.
fn before_timeout(answers: &[u8]) -> &[u8] {
    let begin = b"HTTP/1.1 408 ";
    let end = answers.windows(begin.len()).rposition(|window| window == begin);
    &answers[..end.unwrap_or(answers.len())]
}

/// Limits that a small input can reach.
fn limits(flags: u8) -> Policy {
    let head_limit = if flags & 32 == 0 { 8 << 10 } else { 512 };
    let body_limit = if flags & 0x22 == 2 { 64 } else { 8 << 10 };
    Policy {
        body_limit,
        head_limit,
        requests_limit: if flags & 1 == 0 { 1000 } else { 3 },
        head_timeout: TICK * 4,
        body_timeout: TICK * 5,
        write_timeout: TICK * 6,
        keep_alive_timeout: TICK * if flags & 16 == 0 { 7 } else { 3 },
        range_error_status: if flags & 4 == 0 {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            StatusCode::BAD_REQUEST
        },
    }
}

fn steps<'s>(plan: &[u8], mut sent: &'s [u8]) -> Vec<Step<'s>> {
    let mut steps = Vec::new();
    for (nth, letter) in plan.iter().cycle().enumerate().take(MOST_STEPS) {
        if nth % plan.len() == 0 && sent.is_empty() {
            break;
        }
        let length = match letter {
            b'!'..=b'@' => usize::from(letter - b' '),
            b'A'..=b'Z' => usize::from(letter - b'@') * 32,
            _ => 0,
        };
        if length > 0 {
            let (piece, rest) = sent.split_at(length.min(sent.len()));
            sent = rest;
            if !piece.is_empty() {
                steps.push(Step::Send(piece));
            }
        } else {
            steps.extend(step(*letter, plan.contains(&b'r')));
        }
    }
    if !sent.is_empty() {
        steps.push(Step::Send(sent));
    }
    steps
}

/// What the other letters stand for. `w`, anywhere, stands for a client that does not say that it has
/// sent all.
fn step(letter: u8, blocks: bool) -> Option<Step<'static>> {
    let step = match letter {
        b't' => Step::Wait(1),
        b'l' => Step::Wait(4),
        b's' => Step::Rush,
        b'm' => Step::Move,
        b'r' => Step::Read,
        // How many requests are answered before depends on how many answers fit into a socket.
        _ if blocks => return None,
        b'a' => Step::Adopt,
        b'c' => Step::Close,
        b'd' => Step::Drain,
        _ => return None,
    };
    Some(step)
}

fn check_counters(seen: &Seen, sent: &[u8]) {
    assert_eq!(seen.idle, 0, "connections that are gone count as idle");
    assert_eq!(seen.totals.bytes_sent, seen.answers.len() as u64, "bytes sent");
    let answers = response::read_all(&seen.answers, sent).len() as u64;
    assert_eq!(seen.totals.requests(), answers, "answers, by their outcome");
    assert_eq!(seen.latencies, answers, "answers, by the time they took");
}

/// Everything but the bytes that came: behind the last request, those are counted that came with it. A body that
/// has come already is not asked for (RFC 9110 §10.1.1).
fn comparable(seen: &Seen) -> impl PartialEq + std::fmt::Debug + use<> {
    let totals = Totals { bytes_received: 0, bytes_sent: 0, ..seen.totals };
    (text(&seen.answers), seen.end, seen.took.as_secs(), totals)
}

/// The answers without the time of day, which is checked to be one.
fn text(answers: &[u8]) -> String {
    const DATE: &str = "\r\ndate: ";

    let text = String::from_utf8_lossy(answers).replace("HTTP/1.1 100 Continue\r\n\r\n", "");
    let mut parts = text.split(DATE);
    let mut dateless = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (date, rest) = part.split_at_checked(29).unwrap_or((part, ""));
        assert!(rest.is_empty() || httpdate::parse_http_date(date).is_ok(), "no date: {date:?}");
        dateless += DATE;
        dateless += rest;
    }
    dateless
}
