use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Widget},
};

use crate::{render::HEADING, top::theme::Theme};

const KEYS: [(&str, &str); 8] = [
    ("q, Esc, Ctrl-C", "quit"),
    ("p, space", "pause, continue"),
    ("+, -", "longer interval, shorter interval"),
    ("s", "sort workers by number, busy or req/s"),
    ("arrows, j, k", "scroll the workers; also page up and down"),
    ("g, G", "first worker, last worker"),
    ("?", "show or close this help"),
    ("", ""),
];

const FIGURES: [(&str, &str); 7] = [
    ("REQ/S, ERR/S", "responses per second; those other than 200"),
    ("P50, P99", "latency of 50 % or 99 % of the last 10 s"),
    ("OPEN, IDLE", "connections; those without a request"),
    ("CPU of a host", "CPU usage of the daemon; 100 % is one CPU"),
    ("BUSY", "share of the last 10 s; near 100 %, requests wait"),
    ("PROGRESS", "last heartbeat; above 3 s, it is stalled"),
    ("away", "no connection; retried every few seconds"),
];

/// Explains keys and columns.
pub fn draw(theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let line = |(name, what): (&'static str, &'static str)| {
        Line::from(vec![Span::styled(format!("{name:<17} "), theme.style(HEADING)), what.into()])
    };
    let lines: Vec<_> = KEYS.into_iter().chain(FIGURES).map(line).collect();
    Paragraph::new(lines).render(area, buffer);
}
