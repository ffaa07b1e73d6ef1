//! The interfaces of systemd for services (`sd_notify(3)`, `sd_listen_fds(3)`). Without systemd they do nothing.

mod listen_fds;
mod notify_socket;

pub use listen_fds::{CONNECTIONS, COUNTERS, Inherited, Rejected, other_recipient, take_inherited};
pub use notify_socket::{Notifier, is_managed, watchdog_timeout};
