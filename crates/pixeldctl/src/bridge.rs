use std::{io, path::PathBuf, time::Duration};

use pixeld_control::CallError;
use tokio::{
    io::{AsyncWriteExt, copy, stdin, stdout},
    select,
    time::sleep,
};

use super::{args::Purpose, error::CommandError, socket_path, stdout_closed};

/// `pixeldctl bridge`: connects stdin and stdout to the daemon until the daemon closes the connection, which it does
/// when stdin has ended and all calls have replies. From then on, a stalled daemon is given `limit`, so that the
/// bridge does not outlive its caller. A daemon that ends resets the connection, which counts as closed.
pub async fn run(socket: Option<PathBuf>, purpose: Purpose, limit: Duration) -> Result<(), CommandError> {
    let stream = socket_path::connect(socket, purpose, limit).await?;
    let (mut from_daemon, mut to_daemon) = stream.into_split();
    let (mut input, mut output) = (stdin(), stdout());
    let asking = async {
        // An error means that the daemon has closed the connection.
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
