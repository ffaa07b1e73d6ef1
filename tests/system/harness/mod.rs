//! Real Debian hosts for tests: each boots its own systemd in a container, on networks of its own.
//!
//! ```ignore
//! #[test]
//! fn starts() {
//!     let site = Site::boot();
//!     site.c5.run("systemctl start pixeld");
//!     let load = site.client.load(Load::on(C5_OUTSIDE));
//!     site.c5.run("systemctl reload pixeld");
//!     load.stop().assert_all_ok();
//! }
//! ```
//!
//! Needs root and the Debian packages mmdebstrap, debian-archive-keyring, systemd-container,
//! iproute2 and util-linux. Whatever a test starts ends with it: processes, mounts and networks even
//! when the test process is killed, folders and control groups then at the next test's start.

#![allow(dead_code, unused_imports, reason = "not every test needs everything")]

mod client;
mod container;
pub mod deployment;
mod host;
mod host_builder;
#[path = "../../it/support/http.rs"]
mod http;
mod load;
mod network;
mod root;
mod scratch;
#[path = "../../it/support/shared.rs"]
mod shared;
mod site;
pub mod ssh;
mod web;

use std::time::Duration;

pub use client::{Client, Connection, Endpoint, Request};
pub use host::{Host, Output};
pub use host_builder::{HostBuilder, program};
pub use http::Response;
pub use load::{Load, LoadHandle, Report};
pub use network::{Namespace, Network};
pub use root::{Release, cache};
pub use shared::{ECHO, PIXEL, wait_for_some};
pub use site::{C5, C5_OUTSIDE, Site, T2};
pub use web::Web;

/// How long to wait for something that should happen soon.
pub const SOON: Duration = Duration::from_secs(20);

/// Polls until the condition holds; panics after [`SOON`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for_some(what, SOON, || condition().then_some(()));
}
