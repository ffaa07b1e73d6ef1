use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::top::{fixtures::model, key_bindings::KeyAction, model::HostUpdate};

fn screen(model: &mut Model, width: u16, height: u16) -> TestBackend {
    let theme = Theme::of("xterm", "C.UTF-8", true);
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| {
            let lines = draw(frame, model, &theme, 0);
            model.drawn(lines);
        })
        .unwrap();
    terminal.backend().clone()
}

fn lines(model: &mut Model, width: u16, height: u16) -> Vec<String> {
    let screen = screen(model, width, height);
    let cells: Vec<_> = screen.buffer().content().iter().map(ratatui::buffer::Cell::symbol).collect();
    cells.chunks(width.into()).map(|line| line.concat().trim_end().to_owned()).collect()
}

fn has(lines: &[String], words: &[&str]) -> bool {
    lines.iter().any(|line| {
        let found: Vec<_> = line.split_whitespace().collect();
        words.iter().all(|word| found.contains(word))
    })
}

fn has_worker(lines: &[String], host: &str, number: &str) -> bool {
    lines.iter().any(|line| line.split_whitespace().take(3).eq([host, number, "serving"]))
}

#[test]
fn view_at_80x24_shows_everything() {
    let lines = lines(&mut model(&["c5", "t2"], 3), 80, 24);
    assert!(lines[0].starts_with("pixeldctl top "), "{lines:#?}");
    let titles = ["HOST", "REQ/S", "ERR/S", "P50", "P99", "OPEN", "IDLE", "CPU", "UP", "VERSION"];
    assert!(has(&lines, &titles), "{lines:#?}");
    for host in ["c5", "t2"] {
        assert!(
            has(&lines, &[host, "serving", "100", "1.0", "120", "us", "50", "39s", "1.2.3"]),
            "{lines:#?}"
        );
        assert!(has(&lines, &[host, "3", "serving", "34", "██████████", "321", "ago"]), "{lines:#?}");
        assert!(has(&lines, &[host, "Ready", "since"]), "{lines:#?}");
    }
    assert_eq!(lines.iter().filter(|line| line.contains("max 100/s")).count(), 2);
    assert!(lines[23].starts_with("q quit  ? help"), "{lines:#?}");
}

#[test]
fn small_terminal_shows_the_most_important() {
    let lines = lines(&mut model(&["c5"], 8), 40, 10);
    assert!(has(&lines, &["c5", "serving", "100"]), "{lines:#?}");
    assert!(has(&lines, &["WORKER", "STATE", "REQ/S"]), "{lines:#?}");
    assert!(has_worker(&lines, "c5", "1") && has_worker(&lines, "c5", "3"), "{lines:#?}");
    assert!(lines[3].contains('█') && lines[9].starts_with("q quit"), "{lines:#?}");
}

#[test]
fn large_terminal_shows_sparklines_and_events() {
    let lines = lines(&mut model(&["c5", "t2"], 8), 200, 60);
    assert!(lines[4].contains('█') && lines[6].contains('█') && !lines[7].contains('█'), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains("Ready since")).count(), 2);
}

#[test]
fn tiny_terminal_does_not_panic() {
    for hosts in [&["c5"][..], &["c5", "t2", "a-host-with-quite-a-long-name"]] {
        let mut model = model(hosts, 20);
        model.apply(0, HostUpdate::Unreachable("a reason that is longer than any of these lines".repeat(4)));
        for (width, height) in (0..24).flat_map(|height| [0, 1, 7, 20, 39, 61].map(|width| (width, height))) {
            model.help = height % 2 == 0;
            screen(&mut model, width, height);
        }
    }
}

#[test]
fn hidden_workers_can_be_scrolled_to() {
    let mut model = model(&["c5"], 50);
    let shown = lines(&mut model, 80, 24);
    assert!(has_worker(&shown, "c5", "1") && !has_worker(&shown, "c5", "50"));
    model.press(KeyAction::Last);
    let shown = lines(&mut model, 80, 24);
    assert!(!has_worker(&shown, "c5", "1") && has_worker(&shown, "c5", "50"), "{shown:#?}");
    let last = model.scroll;
    model.press(KeyAction::Down);
    model.press(KeyAction::Up);
    assert_eq!(model.scroll, last - 1, "there is nothing to scroll beyond the end");
    // Where all fit again, none is left out.
    assert!(has_worker(&lines(&mut model, 80, 70), "c5", "1"));
}
