//! Draws the model, in any size of terminal.

mod columns;
mod figure;
mod help;
mod hosts;
mod workers;

#[cfg(test)]
mod tests;

use pixeld_control::EventLevel;
use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::Widget,
};

use super::{
    model::{Model, SortOrder},
    theme::Theme,
};
use crate::render::{self, BAD, DIM, HEADING, ODD};

/// Draws a frame; returns the number of lines for workers.
pub fn draw(frame: &mut Frame, model: &Model, theme: &Theme, now_unix_ms: u64) -> usize {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    let layout = Layout::of(model, area);
    draw_title(model, theme, now_unix_ms, layout.title, buffer);
    draw_keys(theme, layout.keys, buffer);
    if model.help {
        help::draw(theme, layout.all, buffer);
    } else {
        hosts::draw(&model.hosts, layout.sparks, theme, layout.hosts, buffer);
        workers::draw(model, theme, layout.workers, buffer);
        draw_events(model, theme, layout.events, buffer);
    }
    layout.workers.height.saturating_sub(1).into()
}

/// The areas of the screen.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    title: Rect,
    hosts: Rect,
    /// Lines of sparklines for each host.
    sparks: u16,
    workers: Rect,
    events: Rect,
    keys: Rect,
    /// The area between title and keys.
    all: Rect,
}

impl Layout {
    fn of(model: &Model, area: Rect) -> Self {
        const HIGHEST_SPARKS: u16 = 4;
        /// Up to this height, the keys are left out.
        const FEW: u16 = 6;
        /// Workers that take precedence over sparklines, and events over higher sparklines.
        const WORKERS_FIRST: u16 = 3;
        const EVENTS_FIRST: u16 = 4;
        const MOST_EVENTS: u16 = 10;
        /// A blank line and the column titles.
        const HEADER: u16 = 2;

        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let hosts = count(model.hosts.len());
        let workers = count(model.workers().len());
        let mut left = area;
        let title = cut(&mut left, 1);
        let has_keys = area.height > FEW;
        let keys = Rect { y: left.bottom() - u16::from(has_keys), height: u16::from(has_keys), ..left };
        left.height -= keys.height;
        let all = left;

        let height = |sparks: u16| hosts.saturating_mul(1 + sparks).saturating_add(1);
        let fits = |sparks: &u16| {
            let others = match sparks {
                1 => workers.min(WORKERS_FIRST) + HEADER,
                _ => workers.saturating_add(2 * HEADER + EVENTS_FIRST),
            };
            height(*sparks).saturating_add(others) <= left.height
        };
        let sparks = (1..=HIGHEST_SPARKS).rev().find(fits).unwrap_or(0);
        let hosts = cut(&mut left, height(sparks));
        cut(&mut left, u16::from(has_keys));
        let workers = cut(&mut left, workers.saturating_add(1));
        cut(&mut left, 1);
        let events = cut(&mut left, 1 + MOST_EVENTS);
        Self { title, hosts, sparks, workers, events, keys, all }
    }
}

/// Removes lines from the top of an area; returns them.
fn cut(left: &mut Rect, lines: u16) -> Rect {
    let top = Rect { height: lines.min(left.height), ..*left };
    left.y += top.height;
    left.height -= top.height;
    top
}

fn draw_title(model: &Model, theme: &Theme, now_unix_ms: u64, area: Rect, buffer: &mut Buffer) {
    let every = humantime::format_duration(model.interval);
    let time = render::time_of_day(now_unix_ms);
    let mut title =
        vec![Span::styled("pixeldctl top", theme.style(HEADING)), format!("  {time}, every {every}").into()];
    if model.order != SortOrder::Number {
        title.push(format!(", by {}", model.order.name()).into());
    }
    if model.paused {
        title.push(Span::styled("  paused", theme.style(ODD)));
    }
    Line::from(title).render(area, buffer);
}

/// Draws the keys that fit, the most important first.
fn draw_keys(theme: &Theme, area: Rect, buffer: &mut Buffer) {
    const KEYS: [(&str, &str); 6] =
        [("q", "quit"), ("?", "help"), ("p", "pause"), ("+ -", "interval"), ("s", "sort"), ("j k", "scroll")];

    let mut left = usize::from(area.width);
    let mut line = Line::default();
    for (key, what) in KEYS {
        let width = key.len() + what.len() + 3;
        // The blanks after the last one may be cut off.
        if width - 2 > left {
            break;
        }
        left = left.saturating_sub(width);
        line.push_span(Span::styled(key, theme.style(HEADING)));
        line.push_span(Span::styled(format!(" {what}  "), theme.style(DIM)));
    }
    line.render(area, buffer);
}

/// Draws the last events, the newest at the bottom.
fn draw_events(model: &Model, theme: &Theme, mut area: Rect, buffer: &mut Buffer) {
    let header = cut(&mut area, 1);
    if area.height == 0 {
        return;
    }
    Span::styled("EVENTS", theme.style(HEADING)).render(header, buffer);
    let several = model.hosts.len() > 1;
    for (host, event) in model.events(area.height.into()) {
        let style = match event.level {
            EventLevel::Error => theme.style(BAD),
            EventLevel::Warn => theme.style(ODD),
            EventLevel::Info => theme.style(anstyle::Style::new()),
        };
        let mut line = Line::styled(render::journal_time(event.at_unix_ms) + " ", theme.style(DIM));
        if several {
            line.push_span(format!("{} ", host.name));
        }
        line.push_span(Span::styled(event.message.as_str(), style));
        line.render(cut(&mut area, 1), buffer);
    }
}
