use std::time::Duration;

use pixeld_control::{CallError, ControlClient};
use tokio::time::{Instant, sleep};

use super::{
    args::Purpose,
    error::{CommandError, CommandErrors},
    fanout,
    options::Options,
};

/// `pixeldctl drain`, and `pixeldctl drain --wait`
pub async fn drain(options: &Options, wait: Option<Duration>) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Change, async |client| {
        let drained = client.drain().await?;
        let left = match wait {
            Some(limit) => wait_until_idle(client, limit).await?.map(|left| (left, limit)),
            None => None,
        };
        Ok((drained, left))
    });
    let replies = replies.await.map(|(drained, left)| match left {
        Some((requests, limit)) => Err(CommandError::InFlight(requests, limit)),
        None => Ok(drained),
    });
    replies.print_each(options, |drained| {
        let already = if drained.already { "Drained already" } else { "Drained" };
        let waited = if wait.is_some() { "; none is in flight" } else { "" };
        format!("{already}: requests are answered with 503 until `pixeldctl resume`{waited}.")
    })
}

/// Waits until no request is in flight; after `limit`, returns how many are.
async fn wait_until_idle(client: &mut ControlClient, limit: Duration) -> Result<Option<u64>, CallError> {
    const INTERVAL: Duration = Duration::from_millis(100);

    let deadline = Instant::now() + limit;
    loop {
        let connections = client.stats().await?.connections;
        match connections.open.saturating_sub(connections.idle) {
            0 => return Ok(None),
            left if Instant::now() >= deadline => return Ok(Some(left)),
            _ => sleep(INTERVAL).await,
        }
    }
}

/// `pixeldctl resume`
pub async fn resume(options: &Options) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Change, ControlClient::resume).await;
    replies.print_each(options, |resumed| {
        if resumed.already { "It was not drained.".into() } else { "Resumed: requests are answered.".into() }
    })
}
