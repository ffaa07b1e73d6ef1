use std::time::Duration;

use serde_json::Value;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    handler_trait::{ControlHandler, Query},
    router::to_value,
    types::{ControlError, EventInfo, WatchEventsReply},
};
use crate::log::{Log, RecordedEvent};

/// The replies of a call that has more than one, without end.
#[derive(Debug)]
pub enum Subscription {
    /// WatchStats.
    Stats(Interval),
    /// WatchEvents.
    Events {
        /// The last events, until the first reply.
        recent: Option<Vec<EventInfo>>,
        /// Those that follow.
        next: broadcast::Receiver<RecordedEvent>,
    },
}

impl Subscription {
    pub fn stats(every: Duration) -> Self {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Stats(ticks)
    }

    pub fn events(log: &Log) -> Self {
        let (recent, next) = log.subscribe();
        Self::Events { recent: Some(recent.iter().map(EventInfo::from).collect()), next }
    }

    /// Waits for the parameters of the next reply; may be dropped while it waits.
    ///
    /// # Errors
    /// When the daemon ends meanwhile.
    pub async fn next(&mut self, handler: &impl ControlHandler) -> Result<Value, ControlError> {
        match self {
            Self::Stats(ticks) => {
                ticks.tick().await;
                handler.read(Query::Stats).await.map(|snapshot| to_value(&*snapshot))
            }
            Self::Events { recent, next } => Ok(to_value(&match recent.take() {
                Some(events) => WatchEventsReply { events, missed: 0 },
                None => next_events(next).await,
            })),
        }
    }
}

/// Waits for one event, and takes those along that are there by then.
async fn next_events(next: &mut broadcast::Receiver<RecordedEvent>) -> WatchEventsReply {
    let mut more = WatchEventsReply { events: Vec::new(), missed: 0 };
    loop {
        match next.recv().await {
            Ok(told) => more.events.push(EventInfo::from(&told)),
            Err(RecvError::Lagged(missed)) => more.missed += missed,
            // The log lives as long as the daemon does.
            Err(RecvError::Closed) => std::future::pending().await,
        }
        if next.is_empty() {
            return more;
        }
    }
}
