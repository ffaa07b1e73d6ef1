//! The state of top: takes samples and keys, and returns the rows to show.

use std::{cmp::Ordering, time::Duration};

use pixeld_control::{EventInfo, WorkerInfo};

use super::{host::HostState, key_bindings::KeyAction};
use crate::status::Status;

/// An update of a host.
#[derive(Debug)]
pub enum HostUpdate {
    Sample(Box<Status>),
    /// It cannot be queried, for this reason.
    Unreachable(String),
}

/// The order of the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortOrder {
    Number,
    Busy,
    Requests,
}

impl SortOrder {
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Busy => "busy",
            Self::Requests => "req/s",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Number => Self::Busy,
            Self::Busy => Self::Requests,
            Self::Requests => Self::Number,
        }
    }
}

#[derive(Debug)]
pub struct Model {
    pub hosts: Vec<HostState>,
    /// The interval between two samples.
    pub interval: Duration,
    pub paused: bool,
    pub help: bool,
    pub order: SortOrder,
    /// The first worker on the screen.
    pub scroll: usize,
    /// Workers on a page and the last scroll position, both known after the first drawing.
    pub page: usize,
    pub furthest: usize,
}

/// The intervals to choose from, in milliseconds.
const INTERVALS: [u64; 8] = [200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];
pub const FIRST_INTERVAL: Duration = Duration::from_secs(1);

impl Model {
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self {
            hosts: names.into_iter().map(HostState::new).collect(),
            interval: FIRST_INTERVAL,
            paused: false,
            help: false,
            order: SortOrder::Number,
            scroll: 0,
            page: 1,
            furthest: 0,
        }
    }

    pub fn apply(&mut self, host: usize, update: HostUpdate) {
        let host = &mut self.hosts[host];
        match update {
            HostUpdate::Unreachable(reason) => host.unreachable = Some(reason),
            // The first sample after the pause is compared with the last one before it.
            HostUpdate::Sample(_) if self.paused && host.unreachable.is_none() => {}
            HostUpdate::Sample(sample) => host.add_sample(*sample),
        }
    }

    /// Performs the action of a key; returns false to quit.
    pub fn press(&mut self, key: KeyAction) -> bool {
        match key {
            KeyAction::Quit => return false,
            KeyAction::Escape if self.help => self.help = false,
            KeyAction::Escape => return false,
            KeyAction::Help => self.help = !self.help,
            KeyAction::Pause => self.paused = !self.paused,
            KeyAction::Sort => self.order = self.order.next(),
            KeyAction::Longer => self.change_interval(|all, now| all.iter().find(|ms| **ms > now).copied()),
            KeyAction::Shorter => self.change_interval(|all, now| all.iter().rfind(|ms| **ms < now).copied()),
            KeyAction::Up => self.scroll_to(self.scroll.saturating_sub(1)),
            KeyAction::Down => self.scroll_to(self.scroll + 1),
            KeyAction::PageUp => self.scroll_to(self.scroll.saturating_sub(self.page)),
            KeyAction::PageDown => self.scroll_to(self.scroll + self.page),
            KeyAction::First => self.scroll_to(0),
            KeyAction::Last => self.scroll_to(usize::MAX),
        }
        true
    }

    fn change_interval(&mut self, choose: impl FnOnce(&[u64], u64) -> Option<u64>) {
        let now = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        self.interval = choose(&INTERVALS, now).map_or(self.interval, Duration::from_millis);
    }

    fn scroll_to(&mut self, line: usize) {
        self.scroll = line.min(self.furthest);
    }

    /// Records the number of lines for workers.
    pub fn drawn(&mut self, lines: usize) {
        self.page = lines.max(1);
        self.furthest = self.workers().len().saturating_sub(lines);
        self.scroll = self.scroll.min(self.furthest);
    }

    /// Returns the workers of all hosts, in the chosen order.
    pub fn workers(&self) -> Vec<(&HostState, &WorkerInfo)> {
        let of_host = |host| HostState::workers(host).map(move |worker| (host, worker));
        let mut workers: Vec<_> = self.hosts.iter().flat_map(of_host).collect();
        let request_rate =
            |(host, worker): &(&HostState, &WorkerInfo)| host.worker_rate(worker.number).unwrap_or(0.0);
        let high_first = |a: f64, b: f64| b.partial_cmp(&a).unwrap_or(Ordering::Equal);
        match self.order {
            SortOrder::Number => {}
            SortOrder::Busy => workers.sort_by(|a, b| high_first(a.1.busy, b.1.busy)),
            SortOrder::Requests => workers.sort_by(|a, b| high_first(request_rate(a), request_rate(b))),
        }
        workers
    }

    /// Returns the last `count` events of all hosts, the oldest first.
    pub fn events(&self, count: usize) -> Vec<(&HostState, &EventInfo)> {
        let of_host = |host: &HostState| host.last.as_ref().map_or(0, |sample| sample.events.len());
        let mut events = Vec::with_capacity(self.hosts.iter().map(of_host).sum());
        for host in &self.hosts {
            events.extend(host.last.iter().flat_map(|sample| &sample.events).map(|event| (host, event)));
        }
        events.sort_by_key(|(_, event)| event.at_unix_ms);
        events.split_off(events.len().saturating_sub(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::fixtures::{model, sample};

    fn request_rate(model: &Model) -> Option<f64> {
        model.hosts[0].rates.map(|rates| rates.requests)
    }

    #[test]
    fn rate_is_between_two_samples() {
        let mut model = Model::new(["c5".into()]);
        model.apply(0, HostUpdate::Sample(sample(0, 10, 4).into()));
        assert_eq!((request_rate(&model), model.hosts[0].worker_rate(1)), (None, None));
        model.apply(0, HostUpdate::Sample(sample(0, 12, 4).into()));
        let rates = model.hosts[0].rates.unwrap();
        assert_eq!((rates.requests, rates.errors, rates.busy), (100.0, 1.0, Some(0.5)));
        assert_eq!(model.hosts[0].worker_rate(1), Some(25.0));
        assert_eq!(model.hosts[0].worker_rate(5), None);
    }

    #[test]
    fn restart_gives_no_false_rate() {
        let mut model = model(&["c5"], 2);
        model.apply(0, HostUpdate::Unreachable("gone".into()));
        assert_eq!(model.workers().len(), 0);
        // Its counters were reset, with those of the workers.
        model.apply(0, HostUpdate::Sample(sample(100_000, 1, 2).into()));
        let host = &model.hosts[0];
        assert_eq!(
            (request_rate(&model), host.worker_rate(1), host.rates.unwrap().busy),
            (Some(0.0), None, None)
        );
        assert_eq!(host.requests.newest(3).collect::<Vec<_>>(), [Some(0), None, Some(1000)]);
        assert!(host.unreachable.is_none());
    }

    #[test]
    fn pause_freezes_figures_but_shows_failures() {
        let mut model = model(&["c5"], 2);
        model.press(KeyAction::Pause);
        model.apply(0, HostUpdate::Sample(sample(0, 100, 2).into()));
        assert_eq!(model.hosts[0].last.as_ref().unwrap().stats.process.uptime_ms, 39_000);
        model.apply(0, HostUpdate::Unreachable("gone".into()));
        assert!(model.hosts[0].unreachable.is_some());
        model.apply(0, HostUpdate::Sample(sample(0, 101, 2).into()));
        assert!(model.hosts[0].unreachable.is_none());
    }

    #[test]
    fn interval_stays_within_the_daemons_bounds() {
        let mut model = model(&["c5"], 2);
        model.press(KeyAction::Longer);
        assert_eq!(model.interval, Duration::from_secs(2));
        for (key, end) in [(KeyAction::Longer, 60_000), (KeyAction::Shorter, 200)] {
            for _ in 0..20 {
                model.press(key);
            }
            assert_eq!(model.interval, Duration::from_millis(end));
        }
    }

    #[test]
    fn workers_are_sorted_as_asked() {
        let mut model = model(&["c5", "t2"], 3);
        let numbers =
            |model: &Model| model.workers().iter().map(|(_, worker)| worker.number).collect::<Vec<_>>();
        assert_eq!(numbers(&model), [1, 2, 3, 1, 2, 3]);
        model.press(KeyAction::Sort);
        assert_eq!(numbers(&model), [3, 3, 2, 2, 1, 1]);
    }

    #[test]
    fn events_of_all_hosts_are_sorted_by_time() {
        let model = model(&["c5", "t2", "t3"], 1);
        let hosts: Vec<_> = model.events(2).iter().map(|(host, _)| host.name.clone()).collect();
        assert_eq!(hosts, ["t2", "t3"]);
    }
}
