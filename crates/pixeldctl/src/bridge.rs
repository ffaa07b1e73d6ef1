use std::{io, path::PathBuf, time::Duration};

use pixeld_control::CallError;
use tokio::{
    io::{AsyncWriteExt, copy, stdin, stdout},
    select,
    time::sleep,
};

use super::{args::Purpose, error::CommandError, socket_path, stdout_closed};

/// `pixeldctl bridge`: what goes in at stdin goes to the daemon, what the daemon says comes out at
/// stdout, until the daemon hangs up; it does so when stdin has ended and everything is answered. Then
/// a daemon that is stalled is waited for no longer than the caller waits, so that it sees who has
/// gone. A daemon that ends before
/// it has accepted the connection, or read all of it, resets it; that too is hanging up.
pub async fn run(socket: Option<PathBuf>, purpose: Purpose, limit: Duration) -> Result<(), CommandError> {
    let stream = socket_path::connect(socket, purpose, limit).await?;
    let (mut from_daemon, mut to_daemon) = stream.into_split();
    let (mut input, mut output) = (stdin(), stdout());
    let asking = async {
        // Where nobody takes it any more, the daemon hangs up.
        let _ = copy(&mut input, &mut to_daemon).await;
        let _ = to_daemon.shutdown().await;
        select! {
            () = sleep(limit) => Err(CallError::TimedOut(limit).into()),
            () = stdout_closed::wait() => Ok(()),
        }
    };
    let answering = async {
        match copy(&mut from_daemon, &mut output).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            copied => _ = copied?,
        }
        output.flush().await
    };
    select! {
        done = answering => done.map_err(CommandError::Os),
        given_up = asking => given_up,
    }
}
