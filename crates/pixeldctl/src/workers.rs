use pixeld_control::{CallError, ControlClient, ControlError, SetWorkersReply, WorkerState, WorkersReply};

use super::{
    args::{Purpose, WorkerCount},
    error::CommandErrors,
    fanout,
    options::Options,
    render,
};

/// `pixeldctl workers`
pub async fn show(options: &Options) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Read, ControlClient::workers).await;
    replies.print_each(options, table)
}

/// `pixeldctl workers N`
pub async fn set(options: &Options, count: WorkerCount) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Change, async |connection| {
        let count = target(connection, count).await?;
        connection.set_workers(count).await
    });
    replies.await.print_each(options, change)
}

/// Returns the absolute number to set, so that a repeated call changes nothing more.
async fn target(client: &mut ControlClient, count: WorkerCount) -> Result<Option<u64>, CallError> {
    Ok(match count {
        WorkerCount::Configured => None,
        WorkerCount::Exactly(count) => Some(count),
        WorkerCount::Relative(by) => {
            let before = serving(&client.workers().await?);
            let count = before.checked_add_signed(by).filter(|count| *count > 0);
            Some(count.ok_or_else(|| none_left(before, by))?)
        }
    })
}

/// The error that the daemon would return.
fn none_left(before: u64, by: i64) -> CallError {
    let reason = format!("{by:+} would leave no worker of {before}");
    CallError::Refused(ControlError::InvalidValue { field: "count".into(), reason })
}

fn serving(workers: &WorkersReply) -> u64 {
    workers.workers.iter().filter(|worker| worker.state == WorkerState::Serving).count() as u64
}

fn change(set: &SetWorkersReply) -> String {
    let mut text = format!("workers: {} -> {}", set.from, set.to);
    if set.moved > 0 {
        text += &format!(", {} moved", render::counted(set.moved, "connection"));
    }
    if set.leaving > 0 {
        text += &format!("\n{}, still finishing requests", render::counted(set.leaving, "leaving worker"));
    }
    text
}

fn table(workers: &WorkersReply) -> String {
    let header = ["WORKER", "STATE", "REQUESTS", "CONNECTIONS", "IDLE", "TAKEN", "BUSY", "CPU", "PROGRESS"];
    let mut rows = vec![header.map(String::from).to_vec()];
    rows.extend(workers.workers.iter().map(|worker| {
        vec![
            worker.number.to_string(),
            match worker.state {
                WorkerState::Serving => "serving".into(),
                WorkerState::Leaving => "leaving".into(),
            },
            worker.requests.to_string(),
            worker.connections.to_string(),
            worker.idle_connections.to_string(),
            worker.connections_taken.to_string(),
            render::percent(worker.busy),
            render::cpu(worker.cpu_ms),
            format!("{} ms ago", worker.heartbeat_age_ms),
        ]
    }));
    let runtime_override = runtime_override(workers).map_or_else(String::new, |by| format!(", {by}"));
    format!("{}\n{}{runtime_override}", render::table(&rows), summary(workers))
}

pub fn summary(workers: &WorkersReply) -> String {
    format!("{} serving, {} configured", serving(workers), workers.configured)
}

/// The runtime override, and who set it.
pub fn runtime_override(workers: &WorkersReply) -> Option<String> {
    let (count, by) = workers.override_count.zip(workers.overridden_by.as_ref())?;
    Some(format!("override {count} {}", render::attribution(by)))
}
