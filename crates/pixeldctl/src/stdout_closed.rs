use std::{future::pending, io, os::fd::AsFd};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tokio::task::spawn_blocking;

/// Waits until the reader of stdout has closed it; forever if stdout is a file.
pub async fn wait() {
    // In a thread of its own: epoll rejects files, and reports nothing of a socket that is not read.
    if !matches!(spawn_blocking(wait_for_hangup).await, Ok(Ok(()))) {
        pending::<()>().await;
    }
}

fn wait_for_hangup() -> nix::Result<()> {
    let stdout = io::stdout();
    // POLLHUP is reported without being requested.
    let mut reader = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    loop {
        match poll(&mut reader, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            done => return done.map(drop),
        }
    }
}
