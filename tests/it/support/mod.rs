//! What the integration tests share: the real programs, started as a user starts them, and clients
//! that speak HTTP and Varlink byte by byte. Everything that waits has a bound.

mod client;
mod daemon;
mod http;
mod log;
mod manager;
mod program;
mod proxy;
mod shared;
mod tmux;
mod varlink;

use std::time::Duration;

pub use client::{Client, post_in_two};
pub use daemon::{Daemon, Setup};
pub use http::{Response, post, request};
pub use log::LogLine;
pub use program::{PIXELD, PIXELDCTL, captured, code, ctl, run, stderr, stdout};
pub use proxy::Proxy;
pub use shared::{ECHO, PIXEL, wait_for_some};
pub use tmux::Tmux;
pub use varlink::{Varlink, serve_varlink, serve_version};

/// Nothing that works takes as long as this, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Polls until there is a value; panics after [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, poll: impl FnMut() -> Option<T>) -> T {
    wait_for_some(what, PATIENCE, poll)
}
