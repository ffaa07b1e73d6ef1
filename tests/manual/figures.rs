//! pixeldctl(1) explains each figure that pixeldctl shows, and no others.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, Stdio},
};

use crate::{
    page::{PIXELD, PIXELDCTL, part, plain, section},
    source::code,
    support::{Daemon, PIXEL, PIXELDCTL as PROGRAM, captured, code as exit_code, ctl, post, stdout},
};

/// The heads of the list that follows this line.
fn heads_below(begin: &str) -> BTreeSet<&'static str> {
    let (_, rest) = PIXELDCTL.split_once(&format!("\n{begin}")).unwrap_or_else(|| panic!("no {begin}"));
    let (_, list) = rest.split_once("\n.Bl -tag").expect("a list");
    let end = list.find("\n.El").expect("its end");
    let heads = list[..end].lines().filter_map(|line| line.strip_prefix(".It "));
    heads.flat_map(|head| head.split(" , ")).map(|head| head.split(" Pq").next().unwrap()).collect()
}

fn shown(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = ctl(&daemon.control_socket(), arguments);
    assert_eq!(exit_code(&output), 0, "{output:?}");
    stdout(&output)
}

/// What stands before the colons.
fn labels(text: &str) -> BTreeSet<String> {
    let lines = text.lines().take_while(|line| !line.is_empty());
    let labels = lines.filter_map(|line| line.split_once(": ")).map(|(label, _)| label.trim().to_owned());
    labels.collect()
}

fn owned(words: BTreeSet<&str>) -> BTreeSet<String> {
    words.into_iter().map(String::from).collect()
}

#[test]
fn every_label_is_explained_and_no_other() {
    let daemon = Daemon::start("");
    let code = code(&["src/ctl"]);
    // Lines that are there only where something is wrong.
    let (_, odd) = code.split_once("pub fn warnings(").expect("the lines of what is odd");
    let odd =
        odd.split_once(".into_iter()").unwrap().0.lines().filter_map(|line| line.trim().strip_prefix("(\""));
    let odd: BTreeSet<_> = odd.map(|line| line.split('"').next().unwrap().to_owned()).collect();
    assert!(odd.contains("evicted"), "{odd:?}");

    let stats = labels(&shown(&daemon, &["stats"]));
    assert_eq!(owned(heads_below(".It Cm stats")), stats.union(&odd).cloned().collect());

    let mut status = labels(&shown(&daemon, &["status"]));
    status.retain(|label| !label.contains("pixeld"));
    status.insert("Stuck".into());
    assert!(code.contains("\"Stuck\""), "it is shown where a worker is stuck");
    assert_eq!(owned(heads_below(".It Cm status")), status);
}

#[test]
fn every_column_is_explained_and_no_other() {
    let daemon = Daemon::start("");
    let header = |text: String| text.lines().next().unwrap().split_whitespace().map(String::from).collect();
    let workers: BTreeSet<String> = header(shown(&daemon, &["workers"]));
    assert_eq!(owned(heads_below(".It Cm workers")), workers);

    let mut watch = Command::new(PROGRAM)
        .args(["stats", "--watch", "0.1", "--socket"])
        .arg(daemon.control_socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(watch.stdout.take().unwrap()), &mut line)
        .unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    let mut columns: BTreeSet<String> = header(line);
    columns.insert("HOST".into()); // with -H
    assert_eq!(owned(heads_below(".It Cm stats Fl -watch Ar SECONDS")), columns);

    let code = code(&["src/ctl/top"]);
    let (_, columns) = code.split_once("pub fn draw(hosts: &[HostState]").expect("the table of hosts");
    let columns = columns.split_once("];").unwrap().0.split('"').skip(1).step_by(2);
    let columns = columns.filter(|title| *title != "HOST").collect::<BTreeSet<_>>();
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
    let text = shown(&daemon, &["stats", "--prometheus"]);
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
            let told = explanation.contains("label");
            assert_eq!(label.is_some(), told, "{name} has the label {label:?}");
            assert!(label.is_none_or(|label| plain(explanation).contains(label)), "{name}: {label:?}");
            // "What ends in _total only grows".
            assert_eq!(name.ends_with("_total"), kinds[name] == "counter", "{name}");
        }
    }
}

/// What an alert or another page says of these figures is about some that exist.
#[test]
fn named_metrics_exist() {
    let daemon = Daemon::start("");
    let text = shown(&daemon, &["stats", "--prometheus"]);
    for name in section(PIXELD, "MONITORING").split(|c: char| !c.is_alphanumeric() && c != '_') {
        if name.starts_with("pixeld_") {
            assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
        }
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
