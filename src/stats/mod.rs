//! What is counted. One worker writes its own [`WorkerStats`]; anybody may read them at any time,
//! so a snapshot of several counters is only as exact as they are together at that moment. The
//! counters lie in [`Memory`] that can outlive the process.

mod counter;
mod histogram;
mod memory;
mod outcome;
mod region;
mod worker;

pub use counter::{Counter, SharedCounter, sum};
pub use histogram::{Distribution, Histogram};
pub use memory::{Memory, drained_in};
pub use outcome::{Outcome, Outcomes};
pub use region::{AcceptStats, DrainedBy, Region, WorkerCounters};
pub use worker::{Totals, WorkerStats, latency};
