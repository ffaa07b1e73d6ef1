use std::{collections::VecDeque, panic::resume_unwind, sync::Mutex, thread};

use super::{
    case::{After, Case, ECHO, PIXEL, Step, with},
    groups,
    wire::{Answer, Peer, Wire},
};

/// What stands between the client and pixeld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Nothing,
    Nginx,
}

/// How many cases are played at a time.
const PLAYERS: usize = 8;

/// Plays the whole table and panics with the names of all cases that went wrong.
pub fn play_all(peer: &Peer, via: Via) {
    let mut groups = groups();
    if via == Via::Nginx {
        for (_, cases) in &mut groups {
            cases.retain(|case| case.through_nginx.is_some());
        }
    }
    let faults = Mutex::new(Vec::new());
    let queue: VecDeque<_> =
        groups.iter().flat_map(|(group, cases)| cases.iter().map(move |case| (*group, case))).collect();
    let queue = Mutex::new(queue);
    let next = || queue.lock().unwrap().pop_front();
    let play_some = || {
        while let Some((group, case)) = next() {
            let played = play(case, peer, via).and_then(|()| still_serves(peer));
            if let Err(fault) = played {
                let line = format!("{group}: {}\n    {}: {fault}", case.name, case.why);
                faults.lock().unwrap().push((group, line));
            }
        }
    };
    thread::scope(|scope| {
        let players: Vec<_> = (0..PLAYERS).map(|_| scope.spawn(play_some)).collect();
        for player in players {
            player.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
    let mut faults = faults.into_inner().unwrap();
    faults.sort();
    for (group, cases) in &groups {
        let failed = faults.iter().filter(|(of, _)| of == group).count();
        println!("{group}: {} passed, {failed} failed", cases.len() - failed);
    }
    let report: String = faults.iter().map(|(_, line)| format!("\n{line}")).collect();
    assert!(faults.is_empty(), "{} cases went wrong:{report}", faults.len());
}

/// Whether someone else is still served.
fn still_serves(peer: &Peer) -> Result<(), String> {
    let probed = Wire::connect(peer).and_then(|mut wire| probe(&mut wire));
    probed.map_err(|fault| format!("afterwards the server does not serve others: {fault}"))
}

/// Asks for a pixel on a connection; nothing else may be in it, nor come after.
fn probe(wire: &mut Wire) -> Result<(), String> {
    wire.send(&with(&[]));
    let answer = wire.answer(true)?.ok_or("the connection is closed, though nothing said so")?;
    if (answer.status, answer.body.as_str()) != (200, ECHO) {
        return Err(format!("the next request on the connection is answered {answer:?}"));
    }
    wire.finish();
    wire.expect_end()
}

fn play(case: &Case, peer: &Peer, via: Via) -> Result<(), String> {
    let expect = match via {
        Via::Nothing => case.expect,
        Via::Nginx => case.through_nginx.unwrap_or(case.expect),
    };
    let mut wire = Wire::connect(peer)?;
    let mut answers = Vec::new();
    let mut ended = false;
    let mut is_head = case.is_head;
    let mut take = |wire: &mut Wire| {
        let answer = wire.answer(!is_head)?;
        is_head &= answer.as_ref().is_none_or(|answer| answer.status < 200);
        Ok::<_, String>(answer)
    };
    for step in &case.steps {
        match step {
            Step::Send(bytes) => wire.send(bytes),
            Step::Finish => wire.finish(),
            Step::Await if ended => {}
            Step::Await => match take(&mut wire)? {
                Some(answer) => answers.push(answer),
                None => ended = true,
            },
            Step::Leave => return Ok(()),
            Step::Reset => {
                wire.reset();
                return Ok(());
            }
        }
    }
    let is_final = |status: &u16| *status >= 200;
    let most = expect.iter().map(|statuses| statuses.iter().filter(|status| is_final(status)).count()).max();
    let count = |answers: &[Answer]| answers.iter().filter(|answer| is_final(&answer.status)).count();
    while !ended && count(&answers) < most.unwrap_or(0) && !answers.last().is_some_and(Answer::says_close) {
        match take(&mut wire)? {
            Some(answer) => answers.push(answer),
            None => ended = true,
        }
    }
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    if !expect.iter().any(|expected| **expected == *statuses) {
        return Err(format!("expected {expect:?}, got {answers:?}"));
    }
    if via == Via::Nothing {
        for (nth, answer) in answers.iter().enumerate() {
            let has_body = !(case.is_head && nth == 0) && answer.status >= 200;
            check(answer, has_body).map_err(|fault| format!("{fault}: {answer:?}"))?;
        }
    }
    check_after(case, answers.last(), &mut wire, ended, via)
}

/// Whether the connection goes on, or ends, as it has to.
fn check_after(
    case: &Case,
    last: Option<&Answer>,
    wire: &mut Wire,
    ended: bool,
    via: Via,
) -> Result<(), String> {
    let says_close = last.is_some_and(Answer::says_close);
    let must_close = match case.after {
        After::Closed => true,
        After::Kept | After::AsSaid => false,
        After::Usual => last.is_some_and(doubts_framing),
    };
    let is_http_10 = last.is_some_and(|answer| answer.version == "HTTP/1.0") || sends_http_10(case);
    if must_close
        && !says_close
        && !is_http_10
        && !case.ends_itself()
        && via == Via::Nothing
        && last.is_some()
    {
        return Err(format!("the last answer does not say that it is: {last:?}"));
    }
    if case.after == After::Kept && says_close && via == Via::Nothing {
        return Err(format!("the connection is not kept: {last:?}"));
    }
    if ended && !must_close && !says_close && !case.ends_itself() {
        return Err(format!("the connection is closed, though nothing said so, after {last:?}"));
    }
    match () {
        () if ended => Ok(()),
        () if must_close || says_close || case.ends_itself() => wire.expect_end(),
        () => probe(wire),
    }
}

fn sends_http_10(case: &Case) -> bool {
    let version = b" HTTP/1.0\r\n";
    case.steps.iter().any(|step| match step {
        Step::Send(bytes) => bytes.windows(version.len()).any(|some| some == version),
        _ => false,
    })
}

/// After these nobody knows where the next request begins, or it is not worth waiting for.
fn doubts_framing(answer: &Answer) -> bool {
    let is_about_json = answer.body.contains("There was an error parsing the body");
    matches!(answer.status, 400 | 408 | 413 | 414 | 431 | 501 | 505) && !is_about_json
}

/// What holds for every answer of pixeld (CONTRACT.md).
fn check(answer: &Answer, has_body: bool) -> Result<(), &'static str> {
    let ensure = |holds: bool, fault| if holds { Ok(()) } else { Err(fault) };
    if answer.status < 200 {
        return ensure(answer.status == 100, "an interim answer other than 100");
    }
    let field = |name| answer.field(name);
    ensure(field("content-type") == Some("application/json"), "content-type is not application/json")?;
    ensure(field("content-length").is_some(), "no content-length")?;
    ensure(field("date").is_some_and(|date| httpdate::parse_http_date(date).is_ok()), "no date")?;
    ensure(field("server").is_none(), "a server field")?;
    ensure(field("transfer-encoding").is_none(), "a transfer-encoding")?;
    ensure(field("allow") == (answer.status == 405).then_some("POST"), "405 and `allow: POST` go together")?;
    let exact = match answer.status {
        200 => Some(ECHO),
        404 => Some(r#"{"detail":"Not Found"}"#),
        405 => Some(r#"{"detail":"Method Not Allowed"}"#),
        _ => None,
    };
    let is_object =
        || serde_json::from_str::<serde_json::Value>(&answer.body).is_ok_and(|json| json.is_object());
    if !has_body {
        return Ok(());
    }
    match exact {
        Some(exact) => ensure(answer.body == exact, "not the body of this status"),
        None => ensure(is_object(), "the body is no JSON object"),
    }
}

const _: () = assert!(PIXEL.len() == 41);
