use std::{cell::Cell, convert::Infallible, time::Duration};

use pixeld_control::{Stats, StatsStream, unix_ms};
use serde_json::json;

use super::{
    args::Purpose,
    control_connection::ControlConnection,
    error::{CommandError, CommandErrors},
    fanout::{self, FollowState},
    host_target::HostTarget,
    options::Options,
    render::{self, HEADING, styled},
    stats_format::Rates,
};

/// `pixeldctl stats --watch SECONDS`: until it is interrupted.
pub async fn run(options: &Options, interval: Duration) -> Result<(), CommandErrors> {
    let needs_heading = Cell::new(!options.json);
    let watch_one =
        async |target: &_, followed: &mut _| watch(options, target, interval, &needs_heading, followed).await;
    Err(fanout::follow(options, watch_one).await)
}

async fn watch(
    options: &Options,
    target: &HostTarget,
    interval: Duration,
    needs_heading: &Cell<bool>,
    followed: &mut FollowState<()>,
) -> Result<Infallible, CommandError> {
    let connection = ControlConnection::open(target, Purpose::Read, options.timeout).await?;
    let connection = connection.with_exact_texts(options.json);
    let mut stream = connection.watch(async |client| client.watch_stats(interval).await).await?;
    let mut before: Option<Stats> = None;
    loop {
        let stats = stream.call(StatsStream::next).await?;
        followed.has_replied = true;
        if needs_heading.take() {
            let titles = ["TIME", "REQ/S", "ERR/S", "P50", "P99", "OPEN", "IDLE", "CPU"];
            render::print_text(&styled(HEADING, row(options, "HOST", titles)))?;
        }
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
    let rates = Rates::between(before, now).unwrap_or_default();
    row(
        options,
        &target.to_string(),
        [
            &render::time_of_day(unix_ms(std::time::SystemTime::now())),
            &format!("{:.0}", rates.requests),
            &format!("{:.0}", rates.errors),
            &render::latency(now.recent_latency.p50_us),
            &render::latency(now.recent_latency.p99_us),
            &now.connections.open.to_string(),
            &now.connections.idle.to_string(),
            &render::percent(rates.busy.unwrap_or_default()),
        ],
    )
}

/// Returns a line with columns of fixed width.
fn row(options: &Options, host: &str, cells: [&str; 8]) -> String {
    let host = if options.several { format!("{host:<10} ") } else { String::new() };
    let [time, cells @ ..] = cells;
    cells.iter().fold(format!("{host}{time:<8}"), |line, cell| line + &format!(" {cell:>7}"))
}
