use std::convert::Infallible;

use pixeld_control::{ControlClient, EventInfo, EventLevel, EventStream, EventsReply};
use serde_json::json;

use super::{
    args::Purpose,
    control_connection::ControlConnection,
    error::{CommandError, CommandErrors},
    fanout::{self, FollowState},
    host_target::HostTarget,
    options::Options,
    render::{self, BAD, ODD, styled},
};

/// `pixeldctl events`
pub async fn show(options: &Options, lines: Option<usize>) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Read, async |client| {
        let mut reply = client.events().await?;
        reply.events.drain(..beginning(&reply.events, lines));
        Ok(reply)
    });
    let show = |reply: &EventsReply| reply.events.iter().map(|event| named_line(event) + "\n").collect();
    replies.await.print_each(options, show)
}

/// Returns the number of events before the last `lines` ones.
fn beginning(events: &[EventInfo], lines: Option<usize>) -> usize {
    lines.map_or(0, |lines| events.len().saturating_sub(lines))
}

/// The last events of a daemon, which sends them again over the next connection.
type Known = Vec<EventInfo>;

/// `pixeldctl events --follow`: until it is interrupted.
pub async fn follow(options: &Options, lines: Option<usize>) -> Result<(), CommandErrors> {
    let follow_one =
        async |target: &_, followed: &mut _| follow_target(options, target, followed, lines).await;
    Err(fanout::follow(options, follow_one).await)
}

async fn follow_target(
    options: &Options,
    target: &HostTarget,
    followed: &mut FollowState<Known>,
    lines: Option<usize>,
) -> Result<Infallible, CommandError> {
    /// As many as a daemon keeps.
    const KNOWN: usize = 32;

    let connection = ControlConnection::open(target, Purpose::Read, options.timeout).await?;
    let connection = connection.with_exact_texts(options.json);
    let mut stream = connection.watch(ControlClient::watch_events).await?;
    loop {
        let more = stream.call(EventStream::next).await?;
        followed.has_replied = true;
        // The missed events are older than those of this reply.
        if more.missed > 0 {
            let text = format!("{} events were missed", more.missed);
            fanout::print_notice(options, target, "missed", more.missed, &text)?;
        }
        let known = &mut followed.state;
        let is_first = known.is_empty();
        let new = more.events.iter().filter(|event| !known.contains(event)).cloned().collect::<Vec<_>>();
        known.extend_from_slice(&new);
        known.drain(..known.len().saturating_sub(KNOWN));
        for event in &new[if is_first { beginning(&new, lines) } else { 0 }..] {
            match (options.json, options.several) {
                (true, false) => render::print_json_line(event)?,
                (true, true) => {
                    render::print_json_line(&json!({ "host": target.to_string(), "event": event }))?;
                }
                (false, false) => render::print_text(&named_line(event))?,
                (false, true) => render::print_text(&format!("{target} {}", named_line(event)))?,
            }
        }
    }
}

/// Formats an event with its name, under which the manual explains it.
fn named_line(event: &EventInfo) -> String {
    format!("{} {}: {}", render::journal_time(event.at_unix_ms), event.name, message(event))
}

/// Formats an event as the journal shows it.
pub fn line(event: &EventInfo) -> String {
    format!("{} {}", render::journal_time(event.at_unix_ms), message(event))
}

fn message(event: &EventInfo) -> String {
    match event.level {
        EventLevel::Error => styled(BAD, &event.message),
        EventLevel::Warn => styled(ODD, &event.message),
        EventLevel::Info => event.message.clone(),
    }
}
