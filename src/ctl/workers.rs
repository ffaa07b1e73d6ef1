use super::{args::WorkerCount, failure::Failure, render};
use crate::control::{Client, WorkerState, Workers};

/// `pixeldctl workers`
pub async fn show(client: &mut Client, json: bool) -> Result<(), Failure> {
    render::print(&client.workers().await?, json, table)
}

/// `pixeldctl workers N`
pub async fn set(client: &mut Client, count: WorkerCount, json: bool) -> Result<(), Failure> {
    let count = match count {
        WorkerCount::Configured => None,
        WorkerCount::Exactly(count) => Some(count),
    };
    let reply = client.set_workers(count).await?;
    render::print(&reply, json, |set| format!("workers: {} -> {}", set.from, set.to))
}

fn table(workers: &Workers) -> String {
    let header = ["WORKER", "STATE", "REQUESTS", "CONNECTIONS", "TAKEN", "PROGRESS"].map(String::from);
    let mut rows = vec![header.to_vec()];
    rows.extend(workers.workers.iter().map(|worker| {
        let state = match worker.state {
            WorkerState::Serving => "serving",
            WorkerState::Leaving => "leaving",
        };
        vec![
            worker.number.to_string(),
            state.into(),
            worker.requests.to_string(),
            worker.connections.to_string(),
            worker.connections_taken.to_string(),
            format!("{} ms ago", worker.progress_age_ms),
        ]
    }));
    let serving = workers.workers.iter().filter(|worker| worker.state == WorkerState::Serving).count();
    format!("{}\n{serving} serving, {} configured", render::table(&rows), workers.configured)
}
