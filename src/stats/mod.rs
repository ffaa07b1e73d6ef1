//! Counters. Each worker writes its own [`WorkerStats`], and any thread may read them at any time. A snapshot of
//! several counters is therefore not exact: some may be newer than others. The counters are in [`SharedStats`],
//! memory that can outlive the process.

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
