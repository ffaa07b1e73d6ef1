use std::{collections::BTreeMap, fmt, time::Duration};

use super::fault::Fault;
use crate::harness::Report;

/// The result of every request of a phase.
#[derive(Default)]
pub struct Score {
    title: &'static str,
    sent: u64,
    by_status: BTreeMap<u16, u64>,
    unanswered: u64,
    came_again: u64,
    lost: u64,
    pixels: u64,
    /// Pixels that the hosts say they have accepted, where that can be compared.
    counted: Option<u64>,
    faults: BTreeMap<Fault, Near>,
    first_errors: Vec<String>,
}

/// Counts from a fault to the next one.
#[derive(Default)]
struct Near {
    times: u64,
    slowest: Duration,
    came_again: u64,
    lost: u64,
}

/// The answers that are right: to a pixel, and to what is none.
const RIGHT: [u16; 2] = [200, 422];

impl Score {
    pub fn new(title: &'static str) -> Self {
        Self { title, ..Self::default() }
    }

    /// Adds what happened near a fault: to pixels, and to what is none.
    pub fn add(&mut self, fault: Option<Fault>, reports: [Report; 2]) {
        let mut near = Near { times: 1, ..Near::default() };
        for (report, right) in reports.into_iter().zip(RIGHT) {
            let answered_right = report.by_status.get(&right).copied().unwrap_or(0);
            near.lost += report.sent - answered_right;
            near.came_again += report.came_again;
            near.slowest = near.slowest.max(report.slowest);
            self.sent += report.sent;
            self.unanswered += report.errors;
            self.first_errors.extend(report.first_errors);
            if right == 200 {
                self.pixels += answered_right;
            }
            for (status, count) in report.by_status {
                *self.by_status.entry(status).or_default() += count;
            }
        }
        self.lost += near.lost;
        self.came_again += near.came_again;
        if let Some(fault) = fault {
            let Near { slowest, came_again, lost, .. } = near;
            println!("{}: slowest {slowest:.0?}, {lost} lost, {came_again} came again", fault.name());
            let sum = self.faults.entry(fault).or_default();
            sum.times += 1;
            sum.slowest = sum.slowest.max(slowest);
            sum.came_again += came_again;
            sum.lost += lost;
        }
    }

    pub const fn compare_with_counters(&mut self, counted: u64) {
        self.counted = Some(counted);
    }

    /// Panics unless every request had the right answer, and was counted.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        assert!(self.pixels > 0 && self.lost == 0, "{} lost: {:?}", self.lost, self.first_errors);
        let elsewhere: u64 = self
            .faults
            .iter()
            .filter(|(fault, _)| **fault != Fault::ReloadNginx)
            .map(|(_, n)| n.came_again)
            .sum();
        assert_eq!(elsewhere, 0, "only a reload of nginx closes the connections of clients");
        if let Some(counted) = self.counted {
            // One that came again may have been answered to a connection that was closed.
            let expected = self.pixels..=self.pixels + self.came_again;
            assert!(expected.contains(&counted), "{counted} counted, {expected:?} answered");
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        writeln!(f, "| requests | |\n| --- | ---: |")?;
        writeln!(f, "| sent | {} |", self.sent)?;
        for (status, count) in &self.by_status {
            writeln!(f, "| answered {status} | {count} |")?;
        }
        writeln!(f, "| unanswered | {} |", self.unanswered)?;
        writeln!(f, "| sent again, as nginx had closed the connection | {} |", self.came_again)?;
        if let Some(counted) = self.counted {
            writeln!(f, "| pixels answered, counted by the hosts | {}, {counted} |", self.pixels)?;
        }
        writeln!(f, "| **lost** | **{}** |\n", self.lost)?;
        writeln!(f, "| event | times | slowest response near it | lost near it |")?;
        writeln!(f, "| --- | ---: | ---: | ---: |")?;
        for (fault, near) in &self.faults {
            let Near { times, slowest, lost, .. } = near;
            writeln!(f, "| {} | {times} | {} ms | {lost} |", fault.name(), slowest.as_millis())?;
        }
        self.first_errors.iter().try_for_each(|error| writeln!(f, "\n    {error}"))
    }
}
