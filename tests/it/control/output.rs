//! What pixeldctl makes of what a server says, and of a stdout that takes nothing.

use std::{
    fs,
    io::Write,
    os::unix::net::UnixListener,
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::{Value, json};

use super::assert_fails;
use crate::support::{Daemon, PIXELD, PIXELDCTL, captured, code, ctl, run, serve_varlink, stderr, stdout};

fn stats_from_a_server_that_says(words: &'static [u8]) -> Output {
    from_a_server_that_says(words, &["stats"])
}

/// What pixeldctl makes of a server that sends this, whatever it is asked, and says no more.
fn from_a_server_that_says(words: &'static [u8], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let file = path.clone();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // What follows a daemon does not wait for another one here.
        fs::remove_file(&file).unwrap();
        fs::write(&file, "").unwrap();
        stream.write_all(words).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // The question is taken, for a reset could overtake the words.
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    });
    let output = ctl(&path, arguments);
    server.join().unwrap();
    output
}

#[test]
fn foreign_server_is_reported() {
    for words in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let output = stats_from_a_server_that_says(words);
        assert_fails(&output, 75, "the daemon closed the connection");
        assert_fails(&output, 75, "hint: ");
    }
    for words in [
        &b"garbage\0"[..],
        b"{\"parameters\":{}}\0",
        b"{\"error\":\"com.example.Other\",\"parameters\":{}}\0",
        b"{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":\"GetStats\"}}\0",
    ] {
        let output = stats_from_a_server_that_says(words);
        assert_fails(&output, 76, "pixeldctl: ");
        assert_fails(&output, 76, "hint: ");
    }
}

#[test]
fn reply_of_another_version_is_reported() {
    let lacking = b"{\"parameters\":{\"stats\":{\"state\":\"serving\"}}}\0";
    let unknown = b"{\"parameters\":{\"stats\":{\"state\":\"asleep\"}}}\0";
    for (words, fault) in [
        (&lacking[..], "missing field `"),
        (&unknown[..], "unknown variant `asleep`"),
        (&b"[]\0"[..], "not a Varlink reply"),
    ] {
        let output = stats_from_a_server_that_says(words);
        assert_fails(&output, 76, fault);
        assert_fails(&output, 76, "hint: pixeldctl and pixeld may have different versions");
        assert!(!stderr(&output).contains("enum"), "{output:?}");
    }
}

#[test]
fn missed_events_are_reported() {
    let words = b"{\"parameters\":{\"missed\":3,\"events\":[{\"atUnixMs\":0,\"level\":\"info\",\"name\":\"ready\",\"message\":\"m\"}]},\"continues\":true}\0";
    for (options, line) in [(&[][..], "3 events were missed\n"), (&["--json"], "{\"missed\":3}\n")] {
        let output = from_a_server_that_says(words, &[&["events", "--follow"], options].concat());
        let text = stdout(&output);
        assert!(text.starts_with(line) && text.lines().count() == 3 && text.contains("away"), "{output:?}");
    }
}

#[test]
fn control_characters_in_replies_are_escaped() {
    let settings = b"{\"parameters\":{\"settings\":[{\"key\":\"a\\u001b[2Jb\",\"value\":\"\\u009b2J\",\"needsRestart\":false}]}}\0";
    let events = b"{\"parameters\":{\"missed\":0,\"events\":[{\"atUnixMs\":0,\"level\":\"info\",\"name\":\"ready\",\"message\":\"a\\u001b[2Jb\"}]},\"continues\":true}\0";
    let error = b"{\"error\":\"io.pixeld.Control.Failed\",\"parameters\":{\"reason\":\"a\\u001b[2Jb\"}}\0";
    for (words, command) in [
        (&settings[..], &["config"][..]),
        (events, &["events"]),
        (events, &["events", "-f"]),
        (error, &["drain"]),
    ] {
        for options in [&[][..], &["--json"]] {
            let output = from_a_server_that_says(words, &[command, options].concat());
            let printed = stdout(&output) + &stderr(&output);
            assert!(printed.contains("a\\u{1b}[2Jb") || printed.contains("a\\u001b[2Jb"), "{output:?}");
            assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "{output:?}");
        }
    }
}

/// Escape sequences, a line of its own, and characters that change the direction of the line.
const EVIL: &str =
    "\u{1b}]0;x\u{7}\u{9b}31m\u{7f}\r\nFORGED\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}FORGED\u{2029}\"\\\t";

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}".contains(c)
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

/// The same reply with `EVIL` in place of each text that has no fixed values.
fn poisoned(mut reply: Value) -> Value {
    match &mut reply {
        Value::Array(values) => values.iter_mut().for_each(|value| *value = poisoned(value.take())),
        Value::Object(fields) => {
            for (name, field) in fields {
                if !["state", "level"].contains(&name.as_str()) {
                    *field = poisoned(field.take());
                }
            }
        }
        Value::String(text) => *text = EVIL.into(),
        _ => {}
    }
    reply
}

#[test]
fn no_command_prints_terminal_control_characters() {
    let daemon = Daemon::start("workers = 1");
    daemon.ctl(&["drain"]);
    daemon.ctl(&["workers", "2"]);
    let mut admin = daemon.varlink();
    let mut ask = |method: &str| {
        let reply = admin.call(&format!("io.pixeld.Control.{method}"), &json!({}));
        poisoned(reply["parameters"].clone())
    };
    let (stats, workers, config) = (ask("GetStats"), ask("GetWorkers"), ask("GetConfig"));
    let mut events = ask("GetEvents");
    events["missed"] = 0.into();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let (sent_stats, sent_events) = (stats["stats"].clone(), events["events"].clone());
    serve_varlink(UnixListener::bind(&path).unwrap(), move |method| {
        let reply = match method.rsplit_once('.').unwrap().1 {
            "GetStats" | "WatchStats" => &stats,
            "GetWorkers" => &workers,
            "GetEvents" | "WatchEvents" => &events,
            "GetConfig" => &config,
            _ => {
                return json!({ "error": "io.pixeld.Control.InvalidConfiguration", "parameters": { "faults": [EVIL] } });
            }
        };
        json!({ "parameters": reply })
    });
    let commands: [&[&str]; 12] = [
        &["status"],
        &["stats"],
        &["stats", "--prometheus"],
        &["workers"],
        &["events"],
        &["config"],
        &["log-level", "info"],
        &["reload"],
        &["status", "-H", ".host"],
        &["stats", "-H", ".host"],
        &["events", "-H", ".host"],
        &["config", "-H", ".host"],
    ];
    for command in commands {
        for options in [&[][..], &["--json"]] {
            if command.contains(&"--prometheus") && !options.is_empty() {
                continue;
            }
            let output = ctl(&path, &[command, options].concat());
            let printed = stdout(&output) + &stderr(&output);
            assert!(!printed.is_empty(), "{command:?}");
            assert!(!printed.contains(|c| c != '\n' && is_unsafe(c)), "{command:?}: {printed:?}");
            assert!(!printed.lines().any(|line| line.starts_with("FORGED")), "{command:?}: {printed}");
        }
    }
    let exact: Value = serde_json::from_str(&stdout(&ctl(&path, &["stats", "--json"]))).unwrap();
    assert_eq!(exact, sent_stats, "JSON has the data as they are");
    let exact: Value = serde_json::from_str(&stdout(&ctl(&path, &["events", "--json"]))).unwrap();
    assert_eq!(exact["events"], sent_events);
}

#[test]
fn failed_write_to_stdout_is_reported() {
    let daemon = Daemon::start("");
    for (program, arguments) in [
        (PIXELDCTL, &["--help"][..]),
        (PIXELDCTL, &["--version"]),
        (PIXELDCTL, &["stats", "--help"]),
        (PIXELDCTL, &["stats"]),
        (PIXELD, &["--version"]),
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(program);
        command.args(arguments).env("PIXELDCTL_SOCKET", daemon.admin_socket()).stdout(full);
        let output = run(command.stderr(Stdio::piped()));
        let name = program.rsplit_once('/').unwrap().1;
        let expected =
            format!("{name}: the result cannot be written: No space left on device (os error 28)\n");
        assert_eq!((code(&output), stderr(&output)), (74, expected), "{arguments:?}");
    }
}

#[test]
fn closed_stdout_is_an_error() {
    let daemon = Daemon::start("");
    for (program, arguments) in [
        (PIXELDCTL, "stats"),
        (PIXELDCTL, "stats --json"),
        (PIXELDCTL, "doctor"),
        (PIXELDCTL, "--help"),
        (PIXELDCTL, "completions bash"),
        (PIXELD, "--version"),
        (PIXELD, "--check"),
    ] {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec \"$0\" {arguments} >&-"), program]);
        let output = captured(shell.env("PIXELDCTL_SOCKET", daemon.admin_socket()));
        assert_eq!(code(&output), 74, "{arguments}: {output:?}");
        assert!(stderr(&output).contains("the result cannot be written: Bad file descriptor"), "{output:?}");
    }
}

#[test]
fn output_beyond_the_file_size_limit_is_an_error() {
    let daemon = Daemon::start("");
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 0; exec \"$0\" stats > \"$1\"", PIXELDCTL]);
    shell.arg(daemon.folder().join("stats")).env("PIXELDCTL_SOCKET", daemon.admin_socket());
    let output = captured(&mut shell);
    assert_eq!(code(&output), 74, "{output:?}");
    assert!(stderr(&output).contains("File too large"), "{output:?}");
}

#[test]
fn status_dot_fits_the_locale() {
    let daemon = Daemon::start("");
    for (locale, dot) in [("C.UTF-8", "● pixeld "), ("C", "* pixeld "), ("", "* pixeld ")] {
        let mut ctl = Command::new(PIXELDCTL);
        ctl.arg("status").env_clear().env("LC_ALL", locale);
        let text = stdout(&captured(ctl.env("PIXELDCTL_SOCKET", daemon.admin_socket())));
        assert!(text.starts_with(dot), "{locale}: {text}");
        assert!(locale == "C.UTF-8" || text.is_ascii(), "{text}");
    }
}

#[test]
fn unknown_terminal_gets_no_colours() {
    let daemon = Daemon::start("");
    for (terminal, colours) in [("", false), ("unknown", false), ("dumb", false), ("xterm", true)] {
        let mut script = Command::new("script");
        script
            .args(["-qec", &format!("{PIXELDCTL} status"), "/dev/null"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin");
        let output = captured(script.env("TERM", terminal).env("PIXELDCTL_SOCKET", daemon.admin_socket()));
        assert_eq!(stdout(&output).contains('\x1b'), colours, "{terminal}: {output:?}");
    }
}

#[test]
fn closed_pipe_is_silent() {
    let daemon = Daemon::start("");
    for arguments in [&["stats"][..], &["workers", "--json"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut ctl = Command::new(PIXELDCTL);
        ctl.args(arguments).env("PIXELDCTL_SOCKET", daemon.admin_socket());
        let output = run(ctl.stdout(writer).stderr(Stdio::piped()));
        assert_eq!(stderr(&output), "");
    }
}
