use std::{future::pending, io, os::fd::AsFd};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tokio::task::spawn_blocking;

/// Waits until nobody can be shown anything any more, because whoever read stdout has gone. A file or a
/// terminal is there for ever.
pub async fn wait() {
    // In a thread of its own: epoll takes no files, and tells nothing of sockets without reading them.
    if !matches!(spawn_blocking(wait_for_hangup).await, Ok(Ok(()))) {
        pending::<()>().await;
    }
}

fn wait_for_hangup() -> nix::Result<()> {
    let stdout = io::stdout();
    // Hanging up is told unasked.
    let mut reader = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    loop {
        match poll(&mut reader, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            done => return done.map(drop),
        }
    }
}
