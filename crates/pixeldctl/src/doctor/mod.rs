//! `pixeldctl doctor`: checks the host for conditions that make a load test fail. Each check reads files, or runs
//! programs, and evaluates them; `facts` has what several checks need, and `show` prints the report.

mod checks;
mod facts;
mod finding;
mod host;
mod nginx;
mod show;
mod units;

use std::time::Duration;

use futures_util::future::join_all;
use pixeld_control::{CallError, exit::Exit, sanitize};
use tokio::{io::AsyncReadExt, time::timeout};

pub use self::finding::Report;
use self::{facts::Facts, host::Host, show::show};
use super::{
    args::Purpose,
    control_connection::explain_incompatible,
    error::{CommandError, CommandErrors},
    fanout::Replies,
    host_target::HostTarget,
    options::Options,
    ssh::SshProcess,
};

/// `pixeldctl doctor`
pub async fn run(options: &Options) -> Result<Exit, CommandErrors> {
    let probing =
        options.targets.iter().map(async |target| (target.clone(), probe_target(target, options).await));
    let reports = Replies(join_all(probing).await);
    let is_well = reports.0.iter().all(|(_, report)| report.as_ref().is_ok_and(|report| report.ok));
    reports.print_each(options, show)?;
    Ok(if is_well { Exit::Ok } else { Exit::Unwell })
}

async fn probe_target(target: &HostTarget, options: &Options) -> Result<Report, CommandError> {
    match target {
        HostTarget::Local { socket } => {
            let facts = Facts::collect(Host::here(options.timeout), socket.clone()).await;
            Ok(checks::run(&facts).await)
        }
        HostTarget::Ssh(host) => probe_over_ssh(target, host, options.timeout).await,
    }
}

/// Runs the pixeldctl of the other host, which can read the facts there.
async fn probe_over_ssh(target: &HostTarget, host: &str, limit: Duration) -> Result<Report, CommandError> {
    let (mut ssh, mut stream) = SshProcess::start(host, &["pixeldctl", "doctor", "--json"])?;
    let mut report = Vec::new();
    match timeout(limit, stream.read_to_end(&mut report)).await {
        Ok(read) => read.map_err(CommandError::Os)?,
        Err(_) => return Err(ssh.explain_silence(CallError::TimedOut(limit))),
    };
    match serde_json::from_slice(&report) {
        Ok(report) => Ok(Report::seen_from_afar(report, host)),
        // Valid JSON, but of another version.
        Err(error) if error.is_data() => {
            let error = CallError::Protocol(sanitize::escape(&error.to_string()));
            Err(explain_incompatible(target, Purpose::Read, limit, error).await)
        }
        Err(_) => Err(ssh.explain().await),
    }
}
