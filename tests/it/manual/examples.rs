//! Runs the examples of pixeld-control(7) and compares their output with the page.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::page::{PIXELD_CONTROL, displays};
use crate::support::{Daemon, Varlink, captured, stdout};

/// The commands of the page that begin so, each with what it printed.
fn commands(begin: &str) -> Vec<(String, String)> {
    let all = displays(PIXELD_CONTROL).flat_map(|display| {
        let commands = display.split("$ ").skip(1).map(|text| {
            let is_continued = |line: &str| line.ends_with(['\\', '|']);
            let lines = text.lines().take_while(|line| is_continued(line)).count() + 1;
            let text: Vec<_> = text.lines().collect();
            (text[..lines].join("\n"), text[lines..].join("\n"))
        });
        commands.collect::<Vec<_>>()
    });
    all.filter(|(command, _)| command.starts_with(begin)).collect()
}

/// Value without the parts that differ between runs.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), if name == "error" { value.clone() } else { shape(value) }))
            // The sockets of a daemon without systemd have no group of their own.
            .filter(|(name, _)| name != "group")
            .collect(),
        Value::Array(values) => values.iter().map(shape).collect(),
        Value::String(_) => "text".into(),
        Value::Number(_) => 0.into(),
        other => other.clone(),
    }
}

/// With the sockets of a daemon in place of the installed ones.
fn for_daemon(daemon: &Daemon, text: &str) -> String {
    assert!(text.contains("/run/pixeld/"), "{text}");
    text.replace("/run/pixeld/", &format!("{}/pixeld/", daemon.folder().display()))
}

#[test]
fn socat_examples_print_what_the_manual_shows() {
    let daemon = Daemon::start("workers = 3");
    let examples = commands("printf");
    assert!(examples.len() > 1, "{examples:?}");
    for (command, shown) in examples {
        let output = captured(Command::new("sh").args(["-c", &for_daemon(&daemon, &command)]));
        let [printed, shown] = [stdout(&output), shown].map(|text| {
            let replies = text.lines().map(|line| serde_json::from_str(line).unwrap());
            replies.map(|reply| shape(&reply)).collect::<Vec<_>>()
        });
        assert_eq!(printed, shown, "{command}: {output:?}");
    }
    assert_eq!(daemon.stats()["workers"], 2);
}

/// Not by varlinkctl itself, which is younger than some of the systems that this is tested on.
#[test]
fn varlinkctl_examples_get_the_shown_replies() {
    let daemon = Daemon::start("workers = 2");
    let examples = commands("varlinkctl call");
    assert!(examples.len() > 3, "{examples:?}");
    for (command, shown) in examples {
        let words: Vec<_> = command.split_whitespace().filter(|word| *word != "\\").collect();
        let word = |part: &str| *words.iter().find(|word| word.contains(part)).expect(part);
        let parameters = words.iter().find_map(|word| word.strip_prefix('\'')?.strip_suffix('\''));
        let parameters: Value =
            parameters.map_or(json!({}), |text| serde_json::from_str(text).unwrap_or(json!({})));
        let call = json!({
            "method": word("io.pixeld.Control."),
            "parameters": parameters,
            "more": words.contains(&"--more"),
        });
        let mut varlink = Varlink::connect(Path::new(&for_daemon(&daemon, word("/run/pixeld/"))));
        varlink.send(format!("{call}\0")).unwrap();
        let reply = varlink.reply().unwrap();
        let failure = shown.lines().find_map(|line| line.split_once("() failed: ")).map(|(_, error)| error);
        assert_eq!(reply["error"].as_str(), failure, "{command}");
        if let Some(shown) = shown.lines().find(|line| line.starts_with('{')) {
            let shown = serde_json::from_str(shown).unwrap();
            assert_eq!(shape(&reply["parameters"]), shape(&shown), "{command}");
        } else {
            // A number that jq takes out of the reply.
            let pointer = words.last().unwrap().replace('.', "/");
            let value = reply["parameters"].pointer(&pointer);
            assert!(value.is_some_and(Value::is_u64), "{command}: {reply}");
        }
    }
}

#[test]
fn python_example_prints_each_event() {
    let mut daemon = Daemon::start("workers = 2");
    let program = displays(PIXELD_CONTROL).find(|display| display.starts_with("import ")).expect("a program");
    let mut python = Command::new("timeout")
        .args(["20", "python3", "-c", &for_daemon(&daemon, &program)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(python.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("ready: Ready after ")));
    daemon.varlink().call("io.pixeld.Control.SetWorkers", &json!({ "count": 3 }));
    assert!(lines.any(|line| line.starts_with("workersSet: Workers set from 2 to 3 by ")));
    assert!(daemon.stop().success());
    lines.for_each(drop);
    assert!(python.wait().unwrap().success(), "the end of the stream is its end");
}
