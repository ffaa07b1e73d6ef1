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

pub use self::finding::Report;
use self::{host::Host, show::show};
use super::{failure::Failure, render};
use crate::exit::Exit;

/// `pixeldctl doctor`
pub async fn run(socket: Option<PathBuf>, limit: Duration, json: bool) -> Result<Exit, Failure> {
    let facts = look::gather(&Host::here(limit), socket).await;
    tell(&judge::judge(&facts), json)
}

/// Prints a report on this host or on another one, and says how to exit.
pub fn tell(report: &Report, json: bool) -> Result<Exit, Failure> {
    let is_colourful = stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    render::print(report, json, |report| show(report, is_colourful))?;
    Ok(if report.ok { Exit::Ok } else { Exit::Unwell })
}
