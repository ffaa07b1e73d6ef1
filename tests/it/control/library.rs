//! The example of pixeld-control, with a daemon.

use tokio::runtime::Builder;

use crate::support::Daemon;

#[allow(dead_code, reason = "its main reads arguments")]
#[path = "../../../crates/pixeld-control/examples/drain.rs"]
mod drain;

#[test]
fn library_example_drains_a_daemon() {
    let daemon = Daemon::start("");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(drain::drain(&daemon.admin_socket())).unwrap();
    assert_eq!(daemon.stats()["state"], "drained");
}
