use std::{convert::Infallible, time::Duration};

use pixeld_control::{Stats, unix_ms};
use serde_json::json;

use super::{
    args::Purpose,
    control_connection::ControlConnection,
    error::{CommandError, CommandErrors},
    fanout::{self, FollowState},
    host_target::HostTarget,
    options::Options,
    render::{self, HEADING, styled},
};

/// `pixeldctl stats --watch SECONDS`: until it is interrupted.
pub async fn run(options: &Options, interval: Duration) -> Result<(), CommandErrors> {
    if !options.json {
        let header = row(options, "HOST", ["TIME", "REQ/S", "ERR/S", "P50", "P99", "OPEN", "IDLE", "CPU"]);
        render::print_text(&styled(HEADING, header))?;
    }
    let watch_one = async |target: &_, followed: &mut _| watch(options, target, interval, followed).await;
    Err(fanout::follow(options, watch_one).await)
}

async fn watch(
    options: &Options,
    target: &HostTarget,
    interval: Duration,
    followed: &mut FollowState<()>,
) -> Result<Infallible, CommandError> {
    let connection = ControlConnection::open(target, Purpose::Read, options.timeout).await?;
    let (client, transport) = connection.with_exact_texts(options.json).into_parts();
    let mut stream = match client.watch_stats(interval).await {
        Ok(stream) => stream,
        Err(error) => return Err(transport.explain(error).await),
    };
    let mut before: Option<Stats> = None;
    loop {
        let stats = match stream.next().await {
            Ok(stats) => stats,
            Err(error) => return Err(transport.explain(error).await),
        };
        followed.has_replied = true;
        match &before {
            _ if options.json && options.several => {
                render::print_json_line(&json!({ "host": target.to_string(), "stats": stats }))?;
            }
            _ if options.json => render::print_json_line(&stats)?,
            Some(before) => render::print_text(&figures(options, target, before, &stats))?,
            // The first reply is only the base of the differences.
            None => {}
        }
        before = Some(stats);
    }
}

fn figures(options: &Options, target: &HostTarget, before: &Stats, now: &Stats) -> String {
    #[allow(clippy::cast_precision_loss)] // rates, to be read by people
    let rate = |count: fn(&Stats) -> u64| {
        let seconds = now.process.uptime_ms.saturating_sub(before.process.uptime_ms).max(1) as f64 / 1e3;
        count(now).saturating_sub(count(before)) as f64 / seconds
    };
    let cpu_ms = now.process.cpu_ms.saturating_sub(before.process.cpu_ms);
    let uptime_ms = now.process.uptime_ms.saturating_sub(before.process.uptime_ms).max(1);
    #[allow(clippy::cast_precision_loss)] // a share, to be read by people
    let cpu = cpu_ms as f64 / uptime_ms as f64;
    row(
        options,
        &target.to_string(),
        [
            &render::time_of_day(unix_ms(std::time::SystemTime::now())),
            &format!("{:.0}", rate(|stats| stats.requests.total)),
            &format!("{:.0}", rate(|stats| stats.requests.total.saturating_sub(stats.requests.ok))),
            &render::latency(now.recent_latency.p50_us),
            &render::latency(now.recent_latency.p99_us),
            &now.connections.open.to_string(),
            &now.connections.idle.to_string(),
            &render::percent(cpu),
        ],
    )
}

/// Returns a line with columns of fixed width.
fn row(options: &Options, host: &str, cells: [&str; 8]) -> String {
    let host = if options.several { format!("{host:<10} ") } else { String::new() };
    let [time, cells @ ..] = cells;
    cells.iter().fold(format!("{host}{time:<8}"), |line, cell| line + &format!(" {cell:>7}"))
}
