//! Counters and histograms. Each worker writes its own [`WorkerStats`], and any thread may read them at any time. A
//! snapshot of several counters is therefore not atomic. The counters are in [`SharedStats`], which outlives the
//! process.

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
