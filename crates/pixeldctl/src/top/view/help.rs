use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Widget},
};

use crate::{render::HEADING, top::theme::Theme};

const KEYS: [(&str, &str); 8] = [
    ("q, Esc, Ctrl-C", "quit"),
    ("p, space", "pause, and go on"),
    ("+, -", "longer interval, shorter one"),
    ("s", "sort workers by number, busy or req/s"),
    ("arrows, j, k", "scroll the workers; also page up and down"),
    ("g, G", "to the first worker, to the last one"),
    ("?", "this help, and back"),
    ("", ""),
];

const FIGURES: [(&str, &str); 7] = [
    ("REQ/S, ERR/S", "answers per second, and those that were not 200"),
    ("P50, P99", "half, or 99 %, of the last 10 s took no longer"),
    ("OPEN, IDLE", "connections; those that wait for a request"),
    ("BUSY of a host", "CPU time of the process; 100 % is one core"),
    ("BUSY of a worker", "its share of the last 10 s; 100 % lets wait"),
    ("PROGRESS", "when it last came round; seconds mean stalled"),
    ("away", "no daemon answers; it is tried again"),
];

/// What the keys do and the figures mean.
pub fn draw(theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let line = |(name, what): (&'static str, &'static str)| {
        Line::from(vec![Span::styled(format!("{name:<17} "), theme.style(HEADING)), what.into()])
    };
    let lines: Vec<_> = KEYS.into_iter().chain(FIGURES).map(line).collect();
    Paragraph::new(lines).render(area, buffer);
}
