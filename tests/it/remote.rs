//! `pixeldctl -H`: daemons on other hosts, asked by way of a program that plays ssh.

mod failures;
mod hosts;
mod streams;

use serde_json::{Value, json};

use self::hosts::Hosts;
use crate::support::{self, Daemon, PIXEL, post};

fn posted(settings: &str, requests: usize) -> Daemon {
    let daemon = Daemon::start(settings);
    let mut client = daemon.unix_client();
    for _ in 0..requests {
        assert_eq!(client.ask(post(PIXEL)).status, 200);
    }
    daemon
}

fn line<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.trim_start().starts_with(name)).collect()
}

#[test]
fn remote_host_is_asked_by_ssh_and_named() {
    let t2 = posted("workers = 2", 3);
    let hosts = Hosts::new().daemon("t2", &t2);
    let text = hosts.text(&["stats", "-H", "t2"]);
    assert!(text.starts_with("t2\n"), "{text}");
    assert!(text.contains("requests: 3 (3 ok)") && text.contains(&format!("(pid {})", t2.pid())), "{text}");
    assert!(!text.contains("all "), "one host has no sum: {text}");
    let json = hosts.json(&["stats", "-H", "t2"]);
    assert_eq!(json["hosts"][0]["host"], "t2");
    assert_eq!(json["hosts"][0]["reply"]["requests"]["ok"], 3);
    assert_eq!(json["sum"], Value::Null);
    assert_eq!(hosts.asked(), ["t2: pixeldctl bridge read"; 2]);
}

#[test]
fn host_label_has_no_user() {
    let t2 = Daemon::start("");
    let hosts = Hosts::new().daemon("admin@t2", &t2);
    assert!(hosts.text(&["workers", "-H", "admin@t2"]).starts_with("t2\n"));
    assert_eq!(hosts.asked(), ["admin@t2: pixeldctl bridge read"]);
}

#[test]
fn two_hosts_are_shown_with_their_sum() {
    let (c5, t2) = (posted("workers = 1", 2), posted("workers = 3", 5));
    let hosts = Hosts::with_daemons(&c5, &t2);
    let text = hosts.text(&["stats", "-H", "t2", "--host=c5"]);
    let headings: Vec<_> = text.lines().filter(|line| ["t2", "c5", "all 2"].contains(line)).collect();
    assert_eq!(headings, ["t2", "c5", "all 2"], "in the order of the command line: {text}");
    let requests = line(&text, "requests:").join("\n");
    assert!(requests.ends_with("requests: 7 (7 ok)"), "{text}");
    assert_eq!(line(&text, "workers:").last().unwrap().trim(), "workers: 4");

    let json = hosts.json(&["stats", "-H", "t2", "-H", "c5"]);
    assert_eq!(json["hosts"][0]["reply"]["requests"]["ok"], 5);
    assert_eq!(json["hosts"][1]["reply"]["requests"]["ok"], 2);
    assert_eq!((&json["sum"]["requests"]["ok"], &json["sum"]["workers"]), (&json!(7), &json!(4)));
    assert_eq!(json["sum"]["latency"]["count"], 7);
}

#[test]
fn host_named_twice_is_counted_once() {
    let t2 = posted("workers = 1", 2);
    let hosts = Hosts::new().daemon("t2", &t2);
    let json = hosts.json(&["stats", "-H", "t2", "-H", "t2"]);
    assert_eq!((json["hosts"].as_array().unwrap().len(), &json["sum"]), (1, &Value::Null));
    hosts.text(&["workers", "+1", "-H", "t2", "-H", "t2"]);
    assert_eq!(t2.stats()["workers"], 2);
}

#[test]
fn local_host_can_be_listed_with_a_remote_one() {
    let (here, t2) = (posted("workers = 1", 1), posted("workers = 1", 2));
    let hosts = Hosts::new().daemon("t2", &t2);
    let mut command = hosts.command(&["stats", "-H", ".host", "-H", "t2", "--json"]);
    let output = support::captured(command.env("PIXELDCTL_SOCKET", here.admin_socket()));
    let json: Value = serde_json::from_str(&support::stdout(&output)).unwrap();
    assert_eq!((&json["hosts"][0]["host"], &json["hosts"][1]["host"]), (&json!(".host"), &json!("t2")));
    assert_eq!(json["sum"]["requests"]["ok"], 3);
    assert_eq!(hosts.asked(), ["t2: pixeldctl bridge read"], "no ssh to this host");
}

#[test]
fn two_hosts_are_changed_at_once() {
    let (c5, t2) = (posted("workers = 1", 1), posted("workers = 2", 1));
    let hosts = Hosts::with_daemons(&c5, &t2);
    let both = ["-H", "c5", "-H", "t2"];
    let text = |command: &[&str]| hosts.text(&[command, &both].concat());

    assert_eq!(text(&["workers", "+1"]), "c5\nworkers: 1 -> 2\nt2\nworkers: 2 -> 3\n");
    let drained = text(&["drain"]);
    assert_eq!(line(&drained, "Drained: requests are rejected with 503").len(), 2, "{drained}");
    for daemon in [&c5, &t2] {
        assert_eq!(daemon.unix_client().ask(post(PIXEL)).status, 503);
        assert_eq!(daemon.stats()["state"], "drained");
    }
    assert_eq!(line(&text(&["drain"]), "Drained already").len(), 2);
    assert_eq!(line(&text(&["resume"]), "Resumed").len(), 2);
    for daemon in [&c5, &t2] {
        assert_eq!(daemon.unix_client().ask(post(PIXEL)).status, 200);
    }
    assert_eq!(line(&text(&["log-level", "debug"]), "log level: info -> debug").len(), 2);
    assert_eq!(line(&text(&["log-level"]), "debug, configured info").len(), 2);
    t2.configure("workers = 2\n[limits]\nbody = \"8KiB\"");
    let reloaded = hosts.json(&["reload", "-H", "c5", "-H", "t2"]);
    assert_eq!(reloaded["hosts"][0]["reply"]["changes"], json!([]));
    assert_eq!(reloaded["hosts"][1]["reply"]["changes"][0]["key"], "limits.body");
    assert!(hosts.asked().contains(&"t2: pixeldctl bridge change".to_owned()));
}

#[test]
fn every_view_works_for_two_hosts() {
    let (c5, t2) = (posted("workers = 1", 1), posted("workers = 2", 1));
    let hosts = Hosts::with_daemons(&c5, &t2);
    for (command, wanted) in [
        ("status", "Requests: 1 (1 ok)"),
        ("workers", "WORKER"),
        ("config", "KEY"),
        ("events", "Ready after"),
    ] {
        let text = hosts.text(&[command, "-H", "c5", "-H", "t2"]);
        assert_eq!(text.matches(wanted).count(), 2, "{text}");
        let json = hosts.json(&[command, "-H", "c5", "-H", "t2"]);
        assert!(json["hosts"][1]["reply"].is_object(), "{json}");
    }
}

#[test]
fn bad_host_options_are_usage_errors() {
    let hosts = Hosts::new();
    for arguments in [&["stats", "-H", "t2", "--socket", "/x"][..], &["stats", "-H", ""], &["stats", "-H"]] {
        assert_eq!(support::code(&hosts.ctl(arguments)), 64, "{arguments:?}");
    }
    assert!(hosts.asked().is_empty());
}
