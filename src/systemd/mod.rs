//! What a service owes its manager, and gets from it (`sd_notify(3)`, `sd_listen_fds(3)`). Without
//! systemd each of these does nothing.

mod listen_fds;
mod notify;

pub use listen_fds::{CONNECTIONS, COUNTERS, Inherited, Rejected, other_recipient, take_inherited};
pub use notify::{Notifier, is_managed, watchdog_timeout};
