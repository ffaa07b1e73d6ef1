use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use tokio::sync::broadcast;

use super::event::Event;

/// Maximum number of recent events for new subscribers.
const HISTORY_LEN: usize = 32;
/// Maximum number of events that a subscriber may lag behind before it misses some.
const SUBSCRIBER_LAG: usize = 256;

#[derive(Debug, Clone)]
pub struct RecordedEvent {
    pub at: SystemTime,
    pub event: Event,
}

/// The recent events, and the subscribers that wait for the next one, without those of level debug. It works without
/// the journal.
#[derive(Debug)]
pub(super) struct RecentEvents {
    recent: Mutex<VecDeque<RecordedEvent>>,
    subscribers: broadcast::Sender<RecordedEvent>,
}

impl Default for RecentEvents {
    fn default() -> Self {
        Self { recent: Mutex::default(), subscribers: broadcast::Sender::new(SUBSCRIBER_LAG) }
    }
}

impl RecentEvents {
    pub fn publish(&self, event: &Event) {
        let recorded = RecordedEvent { at: SystemTime::now(), event: event.clone() };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == HISTORY_LEN {
            recent.pop_front();
        }
        recent.push_back(recorded.clone());
        // There may be no subscriber.
        let _ = self.subscribers.send(recorded);
    }

    /// Returns the recent events and a receiver of the next ones.
    pub fn subscribe(&self) -> (Vec<RecordedEvent>, broadcast::Receiver<RecordedEvent>) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        (recent.iter().cloned().collect(), self.subscribers.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriber_gets_history_and_new_events() {
        let events = RecentEvents::default();
        for worker in 1..=HISTORY_LEN + 5 {
            events.publish(&Event::WorkerStarted { worker, cause: "" });
        }
        let (recent, mut next) = events.subscribe();
        assert_eq!(recent.len(), HISTORY_LEN);
        assert!(matches!(recent[0].event, Event::WorkerStarted { worker: 6, .. }));
        assert!(next.try_recv().is_err());
        events.publish(&Event::AcceptResumed { socket: String::new() });
        assert!(matches!(next.try_recv().unwrap().event, Event::AcceptResumed { .. }));
    }
}
