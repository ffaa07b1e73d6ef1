//! The checks: each reads what only it needs, and turns that and the common facts into findings.

mod access;
mod common;
mod config;
mod cpu;
mod daemon;
mod disk;
mod exposure;
mod files;
#[cfg(test)]
mod fixtures;
mod log;
mod metrics;
mod ports;
mod queues;
mod server_state;
mod sockets;
mod time;
mod upstreams;

use std::pin::Pin;

use futures_util::future::join_all;

use self::common::CheckResult;
use super::{
    facts::Facts,
    finding::{Finding, Report},
    host::Unavailable,
};

type Check<'f> = Pin<Box<dyn Future<Output = CheckResult> + 'f>>;

/// Makes all checks at once, in about a second; the report has them in this order.
pub async fn run(facts: &Facts) -> Report {
    let checks: [(&str, Check<'_>); 19] = [
        ("daemon", Box::pin(async { daemon::daemon(facts) })),
        ("config", Box::pin(config::config(facts))),
        ("sockets", Box::pin(async { sockets::sockets(facts) })),
        ("upstreams", Box::pin(upstreams::upstreams(facts))),
        ("access", Box::pin(access::access(facts))),
        ("failover", Box::pin(async { upstreams::failover(facts) })),
        ("keepalive", Box::pin(async { upstreams::keepalive(facts) })),
        ("exposure", Box::pin(async { exposure::exposure(facts) })),
        ("file-limit", Box::pin(async { files::file_limit(facts) })),
        ("workers", Box::pin(async { cpu::workers(facts) })),
        ("backlog", Box::pin(queues::backlog(facts))),
        ("overflows", Box::pin(queues::overflows(facts))),
        ("time-wait", Box::pin(async { ports::time_wait(facts) })),
        ("cpu-steal", Box::pin(cpu::steal(facts))),
        ("log-lines", Box::pin(async { log::daemon_lines(facts) })),
        ("journal", Box::pin(log::journal(facts))),
        ("metrics", Box::pin(async { metrics::metrics(facts) })),
        ("disk", Box::pin(disk::disk(facts))),
        ("clock", Box::pin(time::clock(facts))),
    ];
    let findings = join_all(checks.map(async |(name, check)| {
        let findings = check.await.unwrap_or_else(|Unavailable(reason)| vec![Finding::skipped(reason)]);
        findings.into_iter().map(move |finding| Finding { check: name.into(), ..finding })
    }));
    Report::new(findings.await.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::FindingState;

    #[tokio::test]
    async fn failed_probe_is_never_ok() {
        let report = run(&fixtures::invisible()).await;
        assert_eq!(report.findings.len(), 19);
        for finding in &report.findings {
            assert_ne!(finding.state, FindingState::Ok, "{finding:#?}");
            assert!(!finding.summary.is_empty());
        }
    }
}
