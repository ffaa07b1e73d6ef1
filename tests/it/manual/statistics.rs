//! pixeldctl(1) explains each figure that pixeldctl shows, and no others.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use serde_json::Value;

use super::page::{PIXELD, PIXELDCTL, part, plain, section};
use crate::support::{Daemon, PIXEL, PIXELDCTL as PROGRAM, Tmux, Varlink, captured, code, ctl, post, stdout};

/// The heads of the list that follows this line.
fn heads_below(begin: &str) -> BTreeSet<&'static str> {
    let (_, rest) = PIXELDCTL.split_once(&format!("\n{begin}")).unwrap_or_else(|| panic!("no {begin}"));
    let (_, list) = rest.split_once("\n.Bl -tag").expect("a list");
    let end = list.find("\n.El").expect("its end");
    let heads = list[..end].lines().filter_map(|line| line.strip_prefix(".It "));
    heads.flat_map(|head| head.split(" , ")).map(|head| head.split(" Pq").next().unwrap()).collect()
}

fn shown(socket: &Path, arguments: &[&str]) -> String {
    let output = ctl(socket, arguments);
    assert_eq!(code(&output), 0, "{output:?}");
    stdout(&output)
}

/// Text before the first colon of each line.
fn labels(text: &str) -> BTreeSet<String> {
    let lines = text.lines().take_while(|line| !line.is_empty());
    let labels = lines.filter_map(|line| line.split_once(": ")).map(|(label, _)| label.trim().to_owned());
    labels.collect()
}

fn owned(words: BTreeSet<&str>) -> BTreeSet<String> {
    words.into_iter().map(String::from).collect()
}

/// Proxy between pixeldctl and a daemon that makes each reply that of a daemon in trouble.
fn odd_daemon(daemon: &Daemon) -> PathBuf {
    let path = daemon.folder().join("odd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let real = daemon.control_socket();
    thread::spawn(move || {
        for client in listener.incoming().map(Result::unwrap) {
            let mut calls = BufReader::new(client.try_clone().unwrap()).split(0);
            let mut daemon = Varlink::connect(&real);
            while let Some(Ok(call)) = calls.next() {
                daemon.send([call.as_slice(), b"\0"].concat()).unwrap();
                let reply = make_odd(daemon.reply().expect("a reply"));
                (&client).write_all(format!("{reply}\0").as_bytes()).unwrap();
            }
        }
    });
    path
}

/// Has a reply say that connections were closed, accepting paused, lines were dropped and a worker is stalled.
fn make_odd(mut reply: Value) -> Value {
    let parameters = &mut reply["parameters"];
    if let Some(stats) = parameters.get_mut("stats") {
        for counter in ["evicted", "writeTimeouts", "acceptPauses", "cut", "pauses"] {
            if let Some(count) = stats["connections"].get_mut(counter) {
                *count = 7.into();
            }
        }
        stats["logLinesDropped"] = 7.into();
    }
    if let Some(worker) = parameters.get_mut("workers").and_then(|workers| workers.get_mut(0)) {
        for age in ["heartbeatAgeMs", "progressAgeMs"] {
            if let Some(age) = worker.get_mut(age) {
                *age = 60_000.into();
            }
        }
    }
    reply
}

#[test]
fn every_label_is_explained_and_no_other() {
    let daemon = Daemon::start("");
    let odd = odd_daemon(&daemon);
    let stats = labels(&shown(&odd, &["stats"]));
    assert_eq!(owned(heads_below(".It Cm stats")), stats);
    // Lines that are shown only if something is wrong are those of stats.
    let usual = labels(&shown(&daemon.control_socket(), &["stats"]));
    let mut status = labels(&shown(&odd, &["status"]));
    status.retain(|label| !label.contains("pixeld") && (usual.contains(label) || !stats.contains(label)));
    assert_eq!(owned(heads_below(".It Cm status")), status);
}

#[test]
fn every_column_is_explained_and_no_other() {
    let daemon = Daemon::start("");
    let header = |text: String| text.lines().next().unwrap().split_whitespace().map(String::from).collect();
    let workers: BTreeSet<String> = header(shown(&daemon.control_socket(), &["workers"]));
    assert_eq!(owned(heads_below(".It Cm workers")), workers);

    let mut watch = Command::new(PROGRAM)
        .args(["stats", "--watch", "0.1", "--socket"])
        .arg(daemon.control_socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    let mut columns: BTreeSet<String> = header(line);
    columns.insert("HOST".into()); // with -H
    assert_eq!(owned(heads_below(".It Cm stats Fl -watch Ar SECONDS")), columns);

    let tmux = Tmux::start(150, 24, &[("PIXELDCTL_SOCKET", daemon.control_socket().to_str().unwrap())]);
    tmux.run(&format!("{PROGRAM} top"));
    let screen = tmux.wait_for("HOST ");
    tmux.press(&["q"]);
    let titles = screen.lines().find(|line| line.starts_with("HOST ")).unwrap().split_whitespace();
    let columns: BTreeSet<_> = titles.filter(|title| *title != "HOST").collect();
    assert_eq!(heads_below("The columns of a host are:"), columns);
}

#[test]
fn every_outcome_is_explained_and_no_other() {
    let (_, rest) = PIXELDCTL.split_once("\nThe outcomes are,").unwrap();
    let items = rest.split_once("\n.El").unwrap().0.lines().filter_map(|line| line.strip_prefix(".It "));
    let explained: BTreeSet<_> =
        items.map(|head| head.split_once(" Pq Ql ").map_or(head, |(_, name)| name).to_owned()).collect();
    let requests = Daemon::start("").stats()["requests"].as_object().unwrap().clone();
    assert_eq!(
        explained,
        requests.into_iter().map(|(name, _)| name).filter(|name| name != "total").collect()
    );
}

#[test]
fn every_metric_is_explained_and_no_other() {
    let daemon = Daemon::start("");
    daemon.unix_client().ask(post(PIXEL));
    let text = shown(&daemon.control_socket(), &["stats", "--prometheus"]);
    let kinds: BTreeMap<_, _> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let page = section(PIXELDCTL, "PROMETHEUS").replace("\\\n", "");
    let items = page.split("\n.It ").skip(1).map(|item| item.split_once('\n').unwrap());
    let items: Vec<(Vec<_>, _)> = items.map(|(head, text)| (head.split(" , ").collect(), text)).collect();
    let explained: BTreeSet<_> =
        items.iter().flat_map(|(names, _)| names.iter().map(|name| name.trim())).collect();
    assert_eq!(explained, kinds.keys().copied().collect());
    for (names, explanation) in items {
        for name in names {
            let sample = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
            let label =
                sample.and_then(|line| line.split(['{', '=']).nth(1)).filter(|_| kinds[name] != "histogram");
            let is_stated = explanation.contains("label");
            assert_eq!(label.is_some(), is_stated, "{name} has the label {label:?}");
            assert!(label.is_none_or(|label| plain(explanation).contains(label)), "{name}: {label:?}");
            // "What ends in _total only grows".
            assert_eq!(name.ends_with("_total"), kinds[name] == "counter", "{name}");
        }
    }
}

#[test]
fn named_metrics_exist() {
    let daemon = Daemon::start("");
    let text = shown(&daemon.control_socket(), &["stats", "--prometheus"]);
    let words = section(PIXELD, "MONITORING").split(|c: char| !c.is_alphanumeric() && c != '_');
    let named: Vec<_> = words.filter(|word| word.starts_with("pixeld_")).collect();
    assert!(!named.is_empty());
    for name in named {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
    }
}

#[test]
fn every_doctor_check_is_explained_in_order() {
    let output = captured(Command::new(PROGRAM).args(["doctor", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let mut checks: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|found| found["check"].as_str().unwrap()).collect();
    checks.dedup();
    let text = part(PIXELDCTL, "The checks are:", ".Pp");
    let explained: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(".It ")).collect();
    assert_eq!(explained, checks);
}
