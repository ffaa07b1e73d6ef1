//! `pixeldctl doctor`: looks at the host for what makes a load test fail. Facts are gathered in
//! `look`, judged in `judge` and shown in `show`; the report between them is plain data.

mod daemon;
mod finding;
mod host;
mod judge;
mod look;
mod show;

use std::{
    env,
    io::{IsTerminal, stdout},
    path::PathBuf,
    time::Duration,
};

use self::{finding::Report, host::Host, show::show};
use super::{failure::Failure, render};
use crate::exit::Exit;

/// `pixeldctl doctor`
pub async fn run(socket: Option<PathBuf>, limit: Duration, json: bool) -> Result<Exit, Failure> {
    let report = examine(&Host::here(limit), socket).await;
    render::print(&report, json, |report| show(report, is_colourful()))?;
    Ok(if report.ok { Exit::Ok } else { Exit::Unwell })
}

/// Looks at a host, and judges what was seen.
async fn examine(host: &Host, socket: Option<PathBuf>) -> Report {
    judge::judge(&look::gather(host, socket).await)
}

fn is_colourful() -> bool {
    stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
