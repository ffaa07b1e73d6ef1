//! Takes a host out of service, and waits until no connection has a request:
//! `cargo run --example drain -- /run/pixeld/admin.sock`

use std::{env, path::Path, time::Duration};

use pixeld_control::{CallError, ControlClient};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), CallError> {
    let socket = env::args().nth(1).unwrap_or_else(|| "/run/pixeld/admin.sock".into());
    drain(Path::new(&socket)).await
}

pub async fn drain(socket: &Path) -> Result<(), CallError> {
    let mut client = ControlClient::connect(socket, Duration::from_secs(5)).await?;
    client.drain().await?;
    // A reply each second, until the connection is dropped.
    let mut replies = client.watch_stats(Duration::from_secs(1)).await?;
    loop {
        let connections = replies.next().await?.connections;
        let busy = connections.open.saturating_sub(connections.idle);
        println!("{} connections are open, {busy} of them have a request", connections.open);
        if busy == 0 {
            return Ok(());
        }
    }
}
