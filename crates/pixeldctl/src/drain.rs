use std::time::Duration;

use pixeld_control::{CallError, ControlClient};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    args::Purpose,
    error::{CommandError, CommandErrors},
    fanout,
    options::Options,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Drained {
    already: bool,
    /// Requests in flight at the end of `--wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<u64>,
}

/// `pixeldctl drain`, and `pixeldctl drain --wait`
pub async fn drain(options: &Options, wait: Option<Duration>) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Change, async |client| {
        let already = client.drain().await?.already;
        let in_flight = match wait {
            Some(limit) => Some(wait_until_idle(client, limit).await?),
            None => None,
        };
        Ok(Drained { already, in_flight })
    });
    let replies = replies.await;
    let still_busy: Vec<_> = replies
        .0
        .iter()
        .filter_map(|(target, reply)| {
            let requests = reply.as_ref().ok()?.in_flight.filter(|requests| *requests > 0)?;
            let error = CommandError::InFlight(requests, wait?);
            Some(if options.several { error.at(target) } else { error })
        })
        .collect();
    let printed = replies.print_each(options, |drained| {
        let already = if drained.already { "Drained already" } else { "Drained" };
        let waited = if drained.in_flight == Some(0) { "; none is in flight" } else { "" };
        format!("{already}: requests are rejected with 503 until `pixeldctl resume`{waited}.")
    });
    CommandErrors::with(printed, still_busy)
}

/// Waits until no request is in flight; returns the number of those that are after `limit`.
async fn wait_until_idle(client: &mut ControlClient, limit: Duration) -> Result<u64, CallError> {
    const INTERVAL: Duration = Duration::from_millis(100);

    let deadline = Instant::now() + limit;
    let mut last = None;
    loop {
        let Ok(stats) = timeout_at(deadline, client.stats()).await else {
            return last.ok_or(CallError::TimedOut(limit));
        };
        let connections = stats?.connections;
        let in_flight = connections.open.saturating_sub(connections.idle);
        if in_flight == 0 || Instant::now() + INTERVAL >= deadline {
            return Ok(in_flight);
        }
        last = Some(in_flight);
        sleep(INTERVAL).await;
    }
}

/// `pixeldctl resume`
pub async fn resume(options: &Options) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Change, ControlClient::resume).await;
    replies.print_each(options, |resumed| {
        if resumed.already {
            "It was not drained.".into()
        } else {
            "Resumed: requests are accepted again.".into()
        }
    })
}
