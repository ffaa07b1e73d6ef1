use futures_util::future::try_join_all;
use serde_json::json;

use super::{
    Options,
    args::Purpose,
    everywhere,
    failure::Failures,
    place::Place,
    render::{self, BAD, ODD, styled},
};
use crate::control::{Event, EventLevel};

/// `pixeldctl events`
pub async fn show(options: &Options) -> Result<(), Failures> {
    let replies = everywhere::ask(options, Purpose::Read, async |line| line.events().await).await;
    replies.print_each(options, |reply| reply.events.iter().map(|event| line(event) + "\n").collect())
}

/// `pixeldctl events --follow`: until a daemon ends.
pub async fn follow(options: &Options) -> Result<(), Failures> {
    let following = options.places.iter().map(|place| follow_one(options, place));
    try_join_all(following).await.map(drop)
}

async fn follow_one(options: &Options, place: &Place) -> Result<(), Failures> {
    let (client, way) = place.connect(Purpose::Read, options.timeout).await?.into_parts();
    let mut stream = client.watch_events().await?;
    loop {
        let more = match stream.next().await {
            Ok(more) => more,
            Err(error) => {
                let failure = way.explain(error).await;
                return Err(if options.several { failure.at(place) } else { failure }.into());
            }
        };
        for event in &more.events {
            match (options.json, options.several) {
                (true, false) => render::print_json_line(event)?,
                (true, true) => {
                    render::print_json_line(&json!({ "host": place.to_string(), "event": event }))?;
                }
                (false, false) => render::print_text(&line(event))?,
                (false, true) => render::print_text(&format!("{place} {}", line(event)))?,
            }
        }
        if more.missed > 0 && !options.json {
            render::print_text(&styled(ODD, format_args!("{} events were missed", more.missed)))?;
        }
    }
}

/// One event, as the journal shows it.
pub fn line(event: &Event) -> String {
    let time = render::journal_time(event.at_unix_ms);
    let message = match event.level {
        EventLevel::Error => styled(BAD, &event.message),
        EventLevel::Warn => styled(ODD, &event.message),
        EventLevel::Info => event.message.clone(),
    };
    format!("{time} {message}")
}
