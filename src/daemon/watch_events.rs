//! The events of the log as the method WatchEvents sends them.

use tokio::sync::broadcast::{self, error::RecvError};

use crate::{
    control::{EventInfo, EventLevel, EventSource, WatchEventsReply, unix_ms},
    log::{Level, Log, RecordedEvent},
};

#[derive(Debug)]
pub struct EventReceiver(broadcast::Receiver<RecordedEvent>);

/// Returns the recent events and a receiver of the next ones.
pub fn subscribe(log: &Log) -> (Vec<EventInfo>, EventReceiver) {
    let (recent, next) = log.subscribe();
    (recent.iter().map(EventInfo::from).collect(), EventReceiver(next))
}

impl EventSource for EventReceiver {
    async fn next(&mut self) -> WatchEventsReply {
        let mut reply = WatchEventsReply { events: Vec::new(), missed: 0 };
        loop {
            match self.0.recv().await {
                Ok(recorded) => reply.events.push(EventInfo::from(&recorded)),
                Err(RecvError::Lagged(missed)) => reply.missed += missed,
                // The log lives as long as the daemon does.
                Err(RecvError::Closed) => std::future::pending().await,
            }
            if self.0.is_empty() {
                return reply;
            }
        }
    }
}

impl From<&RecordedEvent> for EventInfo {
    fn from(recorded: &RecordedEvent) -> Self {
        Self {
            at_unix_ms: unix_ms(recorded.at),
            name: recorded.event.name().into(),
            level: match recorded.event.level() {
                Level::Error => EventLevel::Error,
                Level::Warn => EventLevel::Warn,
                Level::Info | Level::Debug => EventLevel::Info,
            },
            message: recorded.event.message(),
            worker: recorded.event.worker().map(|worker| worker as u64),
        }
    }
}
