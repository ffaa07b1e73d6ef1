//! What is counted. One worker writes its own [`WorkerStats`]; anybody may read them at any time,
//! so a snapshot of several counters is only as exact as they are together at that moment. The
//! counters lie in [`SharedStats`] that can outlive the process.

mod counter;
mod histogram;
mod memory_layout;
mod shared_stats;
mod worker;

pub use crate::control::Outcome;
pub use counter::{Counter, SharedCounter};
pub use histogram::{Histogram, HistogramSnapshot};
pub use memory_layout::{AcceptStats, DrainedBy, Region, WorkerCounters};
pub use shared_stats::{SharedStats, read_drained};
pub use worker::{Totals, WorkerStats, latency};
