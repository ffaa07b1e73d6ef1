use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use tokio::sync::broadcast;

use super::Event;

/// Events that are kept for those who ask later.
const KEPT: usize = 32;
/// Events that one who watches may be behind.
const BEHIND: usize = 256;

/// An event, and when it happened.
#[derive(Debug, Clone)]
pub struct Told {
    /// When.
    pub at: SystemTime,
    /// What.
    pub event: Event,
}

/// The last events that are not for debugging, and those who wait for the next one. It does not
/// depend on whether the log is written, so it goes on when the journal does not.
#[derive(Debug)]
pub(super) struct News {
    recent: Mutex<VecDeque<Told>>,
    watchers: broadcast::Sender<Told>,
}

impl Default for News {
    fn default() -> Self {
        Self { recent: Mutex::default(), watchers: broadcast::Sender::new(BEHIND) }
    }
}

impl News {
    pub fn tell(&self, event: &Event) {
        let told = Told { at: SystemTime::now(), event: event.clone() };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back(told.clone());
        // Nobody may be watching.
        let _ = self.watchers.send(told);
    }

    /// What was told so far, and a way to hear what is told from then on.
    pub fn watch(&self) -> (Vec<Told>, broadcast::Receiver<Told>) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        (recent.iter().cloned().collect(), self.watchers.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriber_gets_history_and_new_events() {
        let news = News::default();
        for worker in 1..=KEPT + 5 {
            news.tell(&Event::WorkerStarted { worker });
        }
        let (recent, mut next) = news.watch();
        assert_eq!(recent.len(), KEPT);
        assert!(matches!(recent[0].event, Event::WorkerStarted { worker: 6 }));
        assert!(next.try_recv().is_err());
        news.tell(&Event::AcceptResumed);
        assert!(matches!(next.try_recv().unwrap().event, Event::AcceptResumed));
    }
}
