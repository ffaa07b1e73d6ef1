use std::time::Duration;

use serde_json::Value;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    handler::{ControlHandler, EventSource, Query},
    reply::to_value,
    types::{ControlError, EventInfo, WatchEventsReply},
};

/// The endless replies of a WatchStats or WatchEvents.
#[derive(Debug)]
pub enum Subscription<E> {
    /// WatchStats.
    Stats(Interval),
    /// WatchEvents.
    Events {
        /// The recent events, until the first reply is sent.
        recent: Option<Vec<EventInfo>>,
        /// The events that follow.
        next: E,
    },
}

impl<E: EventSource> Subscription<E> {
    pub fn stats(every: Duration) -> Self {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Stats(ticks)
    }

    pub fn events(recent: Vec<EventInfo>, next: E) -> Self {
        Self::Events { recent: Some(recent), next }
    }

    /// Waits for the parameters of the next reply. Cancel safe.
    pub async fn next(&mut self, handler: &impl ControlHandler) -> Result<Value, ControlError> {
        match self {
            Self::Stats(ticks) => {
                ticks.tick().await;
                handler.read(Query::Stats).await.map(|snapshot| to_value(&*snapshot))
            }
            Self::Events { recent, next } => Ok(to_value(&match recent.take() {
                Some(events) => WatchEventsReply { events, missed: 0 },
                None => next.next().await,
            })),
        }
    }
}
