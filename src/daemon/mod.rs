//! The daemon: start, main loop, reload and shutdown, and the control service.

mod active_config;
mod args;
mod config_reader;
mod control_queue;
mod control_service;
mod counter_adoption;
mod daemon_state;
mod entry_point;
mod handoff;
mod listeners;
mod main_loop;
mod panic_hook;
mod process_resources;
mod rate_window;
mod reload;
mod shutdown;
mod signals;
mod startup;
mod statistics;
mod watch_events;
mod worker_watchdog;

pub use args::DaemonArgs;
pub use entry_point::{EXITS, main};
