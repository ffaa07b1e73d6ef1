//! `pixeldctl top` in a real terminal.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{Daemon, ECHO, PIXEL, PIXELDCTL, Tmux, code, eventually, post, stderr};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (60, 15)];

/// A terminal in which pixeldctl finds a daemon.
fn terminal(socket: &Path, (width, height): (u16, u16)) -> Tmux {
    Tmux::start(width, height, &[("PIXELDCTL_SOCKET", socket.to_str().unwrap()), ("LANG", "C.UTF-8")])
}

fn top(tmux: &Tmux) {
    tmux.run(&format!("{PIXELDCTL} top"));
    tmux.wait_for("REQ/S");
}

/// The row of a host, or of a worker: its words, in the table that has this first column.
fn row(screen: &str, host: &str, second: &str) -> Option<Vec<String>> {
    let rows = screen.lines().map(|line| line.split_whitespace().map(String::from).collect::<Vec<_>>());
    rows.into_iter().find(|words| words.len() > 2 && words[0] == host && words[1] == second)
}

/// Requests per second of the only host, as the screen has it.
fn rate(screen: &str) -> Option<f64> {
    row(screen, ".host", "serving")?[2].parse().ok()
}

fn assert_ended_well(tmux: &Tmux) {
    tmux.wait_for("ended with 0");
    assert!(tmux.is_as_before(), "{}", tmux.screen());
}

#[test]
fn top_follows_the_load_at_every_size() {
    let daemon = Daemon::start("workers = 3");
    let terminals = SIZES.map(|size| terminal(&daemon.admin_socket(), size));
    terminals.iter().for_each(top);
    let mut client = daemon.unix_client();
    thread::scope(|scope| {
        let looking = scope.spawn(|| terminals.iter().for_each(assert_shows_load));
        while !looking.is_finished() {
            assert_eq!(client.ask(post(PIXEL)).body, ECHO);
            thread::sleep(Duration::from_millis(2));
        }
    });
    for tmux in &terminals {
        tmux.wait_until("that the load is over", |screen| rate(screen) == Some(0.0));
        tmux.press(&["q"]);
        assert_ended_well(tmux);
    }
}

fn assert_shows_load(tmux: &Tmux) {
    const WORKERS: [&str; 3] = ["1", "2", "3"];

    let screen = tmux.wait_until("the load", |screen| rate(screen) > Some(5.0));
    for worker in WORKERS {
        assert_eq!(row(&screen, ".host", worker).expect(worker)[2], "serving", "{screen}");
    }
    let screen = tmux.wait_until("the one worker that answers", |screen| {
        let answers = |worker: &&str| {
            row(screen, ".host", worker)
                .is_some_and(|words| words[3].parse::<f64>().is_ok_and(|rate| rate > 5.0))
        };
        WORKERS.iter().filter(|worker| answers(worker)).count() == 1
    });
    assert!(screen.lines().last().unwrap().starts_with("q quit  ? help"), "{screen}");
}

#[test]
fn top_survives_a_restart_of_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let mut first = Daemon::start("workers = 2");
    symlink(first.admin_socket(), &socket).unwrap();
    let tmux = terminal(&socket, (80, 24));
    top(&tmux);
    tmux.wait_until("both workers", |screen| row(screen, ".host", "2").is_some());
    first.stop();
    let screen = tmux.wait_until("that it is away", |screen| row(screen, ".host", "away").is_some());
    assert!(row(&screen, ".host", "2").is_none(), "{screen}");
    let second = Daemon::start("workers = 4");
    fs::remove_file(&socket).unwrap();
    symlink(second.admin_socket(), &socket).unwrap();
    tmux.wait_until("all four workers", |screen| row(screen, ".host", "4").is_some());
    tmux.press(&["q"]);
    assert_ended_well(&tmux);
}

#[test]
fn top_shows_a_missing_host_beside_another() {
    let daemon = Daemon::start("workers = 1");
    let folder = tempfile::tempdir().unwrap();
    let ssh = folder.path().join("ssh");
    // The host is the third argument, and what runs there follows.
    let script = format!(
        "#!/bin/sh\nhost=$3\nshift 4\nexec env PIXELDCTL_SOCKET={}/$host {PIXELDCTL} \"$@\"\n",
        folder.path().display()
    );
    fs::write(&ssh, script).unwrap();
    fs::set_permissions(&ssh, Permissions::from_mode(0o755)).unwrap();
    symlink(daemon.admin_socket(), folder.path().join("c5")).unwrap();
    let tmux = Tmux::start(80, 24, &[("PIXELDCTL_SSH", ssh.to_str().unwrap())]);
    tmux.run(&format!("{PIXELDCTL} top -H c5 -H t2"));
    let screen = tmux.wait_until("both hosts", |screen| {
        row(screen, "c5", "serving").is_some() && row(screen, "t2", "away").is_some()
    });
    assert!(screen.contains("pixeld is not running"), "{screen}");
    symlink(daemon.admin_socket(), folder.path().join("t2")).unwrap();
    tmux.wait_until("the second host", |screen| row(screen, "t2", "serving").is_some());
    assert_eq!(code(&daemon.ctl(&["drain"])), 0);
    tmux.wait_until("that it is drained", |screen| row(screen, "t2", "drained").is_some());
    tmux.press(&["Escape"]);
    assert_ended_well(&tmux);
}

#[test]
fn top_is_redrawn_after_a_resize() {
    let daemon = Daemon::start("workers = 2");
    let tmux = terminal(&daemon.admin_socket(), (80, 24));
    top(&tmux);
    for (width, height) in [(40, 10), (200, 60), (9, 3), (80, 24)] {
        tmux.resize(width, height);
        let is_fitting = |screen: &str| {
            let last = screen.lines().last().unwrap_or_default();
            screen.contains("VERSION") == (width >= 80) && last.starts_with("q quit") == (height > 6)
        };
        tmux.wait_until(&format!("{width}x{height}"), is_fitting);
    }
    tmux.press(&["C-c"]);
    assert_ended_well(&tmux);
}

#[test]
fn top_keys_have_their_effect() {
    let daemon = Daemon::start("workers = 30");
    let tmux = terminal(&daemon.admin_socket(), (80, 24));
    top(&tmux);
    tmux.wait_until("the first workers", |screen| row(screen, ".host", "1").is_some());
    tmux.press(&["NPage", "End"]);
    tmux.wait_until("the last workers", |screen| row(screen, ".host", "30").is_some());
    tmux.press(&["Home", "Down"]);
    tmux.wait_until("the second worker on top", |screen| {
        row(screen, ".host", "1").is_none() && row(screen, ".host", "2").is_some()
    });
    tmux.press(&["p"]);
    tmux.wait_for("paused");
    tmux.press(&["Space", "-"]);
    tmux.wait_until("a shorter interval", |screen| {
        screen.contains("every 500ms") && !screen.contains("paused")
    });
    // The figures go on, not only once.
    let progress = |screen: &str| row(screen, ".host", "3").map(|words| words.join(" "));
    for _ in 0..3 {
        let before = progress(&tmux.screen());
        tmux.wait_until("other figures", |screen| progress(screen) != before);
    }
    tmux.press(&["?"]);
    tmux.wait_for("longer interval, shorter interval");
    tmux.press(&["Escape"]);
    tmux.wait_for("REQ/S");
    tmux.press(&["Escape"]);
    assert_ended_well(&tmux);
}

#[test]
fn top_restores_the_terminal_at_its_end() {
    let daemon = Daemon::start("");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let tmux = terminal(&daemon.admin_socket(), (80, 24));
        top(&tmux);
        kill(Pid::from_raw(tmux.pid()), signal).unwrap();
        assert_ended_well(&tmux);
    }
}

#[test]
fn top_ends_when_its_terminal_closes() {
    let daemon = Daemon::start("");
    let folder = tempfile::tempdir().unwrap();
    let status = folder.path().join("status");
    let tmux = terminal(&daemon.admin_socket(), (80, 24));
    // A shell that outlives its terminal, to tell how top did.
    let script = format!("trap \"\" HUP; {PIXELDCTL} top; echo $? >{}", status.display());
    tmux.enter(&format!("sh -c '{script}'"));
    tmux.wait_for("REQ/S");
    tmux.tell(&["kill-session"]);
    let read = || fs::read_to_string(&status).ok().filter(|text| text.ends_with('\n'));
    assert_eq!(eventually("the end of top", read), "0\n");
}

#[test]
fn top_obeys_terminal_colours_and_charset() {
    let daemon = Daemon::start("");
    let socket = daemon.admin_socket();
    let socket = socket.to_str().unwrap();
    let coloured = |environment: &[(&str, &str)]| {
        let tmux = Tmux::start(80, 24, &[&[("PIXELDCTL_SOCKET", socket)], environment].concat());
        top(&tmux);
        tmux.wait_for("serving");
        let (screen, escaped) = (tmux.screen(), tmux.tell(&["capture-pane", "-p", "-e"]));
        // Green, as 16 colours have it or as 256 do.
        (screen.is_ascii(), ["32m", "38;5;2m"].iter().any(|green| escaped.contains(green)))
    };
    let utf8 = ("LANG", "C.UTF-8");
    assert_eq!(coloured(&[utf8]), (false, true));
    assert_eq!(coloured(&[utf8, ("NO_COLOR", "1")]), (false, false));
    assert_eq!(coloured(&[utf8, ("TERM", "vt100")]), (true, false));
    assert_eq!(coloured(&[utf8, ("TERM", "linux")]), (false, true));
    assert_eq!(coloured(&[("LANG", "C")]), (true, true));
}

#[test]
fn top_that_cannot_be_shown_explains_why() {
    let daemon = Daemon::start("");
    for (arguments, reason, hint) in [
        (&["top"][..], "stdout is not a terminal", "`pixeldctl stats --watch 1`"),
        (&["top", "--json"], "no JSON", "`pixeldctl stats --watch 1 --json`"),
    ] {
        let output = daemon.ctl(arguments);
        assert_eq!(code(&output), 64, "{output:?}");
        assert!(stderr(&output).contains(reason) && stderr(&output).contains(hint), "{output:?}");
    }
    let tmux = Tmux::start(80, 24, &[("PIXELDCTL_SOCKET", "/nowhere")]);
    tmux.run(&format!("{PIXELDCTL} top"));
    assert!(tmux.wait_for("ended with 69").contains("no process listens at /nowhere"));
    tmux.run(&format!("env TERM=dumb {PIXELDCTL} top"));
    assert!(tmux.wait_for("ended with 64").contains("cannot position text"));
    assert!(tmux.is_as_before());
}
