use std::time::Duration;

use pixeld_control::{WorkerInfo, WorkerState};
use ratatui::{buffer::Buffer, layout::Rect, text::Span, widgets::Widget};

use super::{
    columns::{Column, table},
    figure, hosts,
};
use crate::{
    render::{self, BAD, DIM, HEADING, ODD},
    stats_format::STALLED_MS,
    top::{host::HostState, model::Model, theme::Theme},
};

const BAR: u16 = 10;

/// Draws the workers of all hosts, from the scroll position.
pub fn draw(model: &Model, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let columns = [
        Column::text("HOST", hosts::name_width(&model.hosts), 1),
        Column::number("WORKER", 6, 0),
        Column::text("STATE", 7, 0),
        Column::number("REQ/S", 7, 0),
        Column::number("CONNS", 6, 2),
        Column::number("IDLE", 6, 7),
        Column::number("BUSY", 5, 3),
        Column::text("", BAR, 5),
        Column::number("CPU", 8, 6),
        Column::number("PROGRESS", 10, 4),
    ];
    let lines = usize::from(area.height.saturating_sub(1));
    let workers = model.workers();
    // The screen may have grown since, or workers have gone.
    let first = model.scroll.min(workers.len().saturating_sub(lines));
    let rows = workers.into_iter().skip(first).take(lines).map(|(host, worker)| row(host, worker, theme));
    table(&columns, area.width, rows, 1, theme.style(HEADING)).render(area, buffer);
}

fn row<'a>(host: &'a HostState, worker: &WorkerInfo, theme: &Theme) -> Vec<Span<'a>> {
    let progress = match worker.heartbeat_age_ms {
        ms @ ..10_000 => format!("{ms} ms ago"),
        ms => format!("{} ago", render::duration(Duration::from_millis(ms))),
    };
    let progress = if worker.heartbeat_age_ms > STALLED_MS {
        Span::styled(progress, theme.style(BAD))
    } else {
        Span::styled(progress, theme.style(DIM))
    };
    let state = match worker.state {
        WorkerState::Serving => "serving".into(),
        WorkerState::Leaving => Span::styled("leaving", theme.style(ODD)),
    };
    vec![
        host.name.as_str().into(),
        worker.number.to_string().into(),
        state,
        figure::rate(host.worker_rate(worker.number)).into(),
        worker.connections.to_string().into(),
        worker.idle_connections.to_string().into(),
        figure::percent(Some(worker.busy)).into(),
        theme.bar(worker.busy, BAR.into()).into(),
        render::cpu(worker.cpu_ms).into(),
        progress,
    ]
}
