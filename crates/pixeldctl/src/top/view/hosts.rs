use std::time::Duration;

use pixeld_control::{ServiceState, Stats};
use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::{Clear, Paragraph, RenderDirection, Sparkline, Widget, Wrap},
};

use super::{
    columns::{Column, table},
    figure,
};
use crate::{
    render::{self, BAD, DIM, GOOD, HEADING, ODD},
    top::{history::History, host::HostState, theme::Theme},
};

const STATE: u16 = 8;

/// Returns the width of the column of host names.
pub fn name_width(hosts: &[HostState]) -> u16 {
    let longest = hosts.iter().map(|host| host.name.len()).max().unwrap_or(0);
    u16::try_from(longest.clamp(4, 16)).unwrap_or(16)
}

/// Draws a row for each host, with `sparks` lines of sparklines below it.
pub fn draw(hosts: &[HostState], sparks: u16, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let name = name_width(hosts);
    let columns = [
        Column::text("HOST", name, 0),
        Column::text("STATE", STATE, 0),
        Column::number("REQ/S", 7, 0),
        Column::number("ERR/S", 6, 2),
        Column::number("P50", 6, 4),
        Column::number("P99", 6, 1),
        Column::number("OPEN", 5, 3),
        Column::number("IDLE", 5, 7),
        Column::number("CPU", 5, 5),
        Column::number("UP", 8, 6),
        Column::text("VERSION", 7, 8),
    ];
    let rows = hosts.iter().map(|host| row(host, theme));
    table(&columns, area.width, rows, 1 + sparks, theme.style(HEADING)).render(area, buffer);
    for (number, host) in (0..).zip(hosts) {
        let top = area.y.saturating_add(1).saturating_add((1 + sparks).saturating_mul(number));
        let below = Rect { x: area.x, y: top.saturating_add(1), width: area.width, height: sparks };
        draw_sparks(host, theme, below.intersection(area), buffer);
        if let Some(reason) = &host.unreachable {
            let left = name + STATE + 2;
            let width = area.width.saturating_sub(left);
            // A long reason takes the place of the sparklines.
            let height = if reason.len() > width.into() { 1 + sparks } else { 1 };
            let place = Rect { x: area.x.saturating_add(left), y: top, width, height }.intersection(area);
            if height > 1 {
                Clear.render(below.intersection(area), buffer);
            }
            let reason = Paragraph::new(reason.as_str()).wrap(Wrap { trim: true });
            reason.style(theme.style(BAD)).render(place, buffer);
        }
    }
}

fn row<'a>(host: &'a HostState, theme: &Theme) -> Vec<Span<'a>> {
    let name = Span::styled(host.name.as_str(), theme.style(HEADING));
    let sample = match &host.last {
        _ if host.unreachable.is_some() => return vec![name, Span::styled("away", theme.style(BAD))],
        None => return vec![name, "asked".into()],
        Some(sample) => sample,
    };
    let Stats { process, connections, recent_latency, .. } = &sample.stats;
    let latency = |us| if recent_latency.count > 0 { render::latency(us) } else { "-".into() };
    let errors = host.rates.map(|rates| rates.errors);
    let errors_style = if errors > Some(0.0) { theme.style(ODD) } else { theme.style(anstyle::Style::new()) };
    let dim = theme.style(DIM);
    vec![
        name,
        state(sample.stats.state, theme),
        figure::rate(host.rates.map(|rates| rates.requests)).into(),
        Span::styled(figure::rate(errors), errors_style),
        latency(recent_latency.p50_us).into(),
        latency(recent_latency.p99_us).into(),
        connections.open.to_string().into(),
        connections.idle.to_string().into(),
        figure::percent(host.rates.and_then(|rates| rates.busy)).into(),
        Span::styled(render::duration(Duration::from_millis(process.uptime_ms)), dim),
        Span::styled(process.version.as_str(), dim),
    ]
}

fn state(state: ServiceState, theme: &Theme) -> Span<'static> {
    let (word, style) = match state {
        ServiceState::Serving => ("serving", GOOD),
        ServiceState::Drained => ("drained", ODD),
        ServiceState::Stopping => ("stopping", ODD),
    };
    Span::styled(word, theme.style(style))
}

/// Draws requests to the left and latency to the right, each with its maximum if it fits.
fn draw_sparks(host: &HostState, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(area);
    #[allow(clippy::cast_precision_loss)] // a rate, to be read by people
    let rate = |tenths: u64| render::rate(tenths as f64 / 10.0);
    draw_spark("req/s", &host.requests, rate, theme, left, buffer);
    draw_spark("p99", &host.p99, render::latency, theme, right, buffer);
}

fn draw_spark(
    name: &str,
    history: &History,
    show: impl Fn(u64) -> String,
    theme: &Theme,
    area: Rect,
    buffer: &mut Buffer,
) {
    const NAME: u16 = 6;
    /// The width of ` max 12345/s`.
    const HIGHEST: u16 = 12;
    /// The minimum width of a sparkline with a maximum.
    const FEWEST: u16 = 10;

    let highest = if area.width >= NAME + FEWEST + HIGHEST { HIGHEST } else { 0 };
    let widths = [Constraint::Length(NAME), Constraint::Fill(1), Constraint::Length(highest)];
    let [label, spark, maximum] = Layout::horizontal(widths).areas(area);
    let samples = usize::from(spark.width);
    let dim = theme.style(DIM);
    Span::styled(name, dim).render(label, buffer);
    Sparkline::default()
        .data(history.newest(samples))
        .direction(RenderDirection::RightToLeft)
        .bar_set(theme.levels.clone())
        .render(spark, buffer);
    let most = history.highest(samples);
    if most > 0 {
        Line::styled(format!("max {}", show(most)), dim).right_aligned().render(maximum, buffer);
    }
}
