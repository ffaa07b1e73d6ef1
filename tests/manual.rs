//! pixeld-control(7) says what the control interface really does, no less and no more.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use support::{Daemon, Varlink, captured, stdout};
use zlink_idl::{CustomType, Field, Interface};

const PAGE: &str = include_str!("../man/pixeld-control.7");
const CONTROL: &str = include_str!("../src/control/io.pixeld.Control.varlink");
const SYSTEMD: &str = include_str!("../src/control/io.systemd.service.varlink");
const EVENTS: &str = include_str!("../src/log/event.rs");
const MESSAGE_IDS: &str = include_str!("../src/log/message_id.rs");
const CATALOG: &str = include_str!("../systemd/pixeld.catalog");

fn described(description: &'static str) -> Interface<'static> {
    description.try_into().expect("the description is valid Varlink")
}

/// The part of a text below a line, up to the next one that begins with `end`.
fn part<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let begin = format!("\n{begin}\n");
    let start = text.find(&begin).unwrap_or_else(|| panic!("no {begin}")) + begin.len() - 1;
    let rest = &text[start..];
    rest.split_once(&format!("\n{end}")).map_or(rest, |(part, _)| part)
}

fn section(title: &str) -> &'static str {
    part(PAGE, &format!(".Sh {title}"), ".Sh ")
}

/// The items of a list whose heads have this macro: what follows it, and the text below.
fn items<'t>(text: &'t str, mark: &str) -> BTreeMap<&'t str, &'t str> {
    let begin = format!("\n.It {mark} ");
    let items = text.split(&begin).skip(1).map(|item| item.split_once('\n').unwrap_or((item, "")));
    items.collect()
}

/// Every word that has this macro.
fn marked<'t>(text: &'t str, mark: &str) -> BTreeSet<&'t str> {
    let words = text.lines().filter_map(|line| {
        let line = line.strip_prefix(".It ").unwrap_or(line.strip_prefix('.').unwrap_or(""));
        line.split_once(&format!("{mark} ")).map(|(_, words)| words.split(' '))
    });
    words.flatten().filter(|word| word.starts_with(char::is_alphabetic)).collect()
}

fn names<'f>(fields: impl Iterator<Item = &'f Field<'static>>) -> BTreeSet<&'f str> {
    fields.map(|field| field.name().as_str()).collect()
}

fn assert_explained<'f>(what: &str, text: &str, fields: impl Iterator<Item = &'f Field<'static>>) {
    let missing: Vec<_> = names(fields).difference(&marked(text, "Va")).map(ToString::to_string).collect();
    assert!(missing.is_empty(), "{what}: {missing:?}");
}

/// Each method as the page heads it: `WatchStats "intervalMs: ?int"`.
fn assert_methods_stand_in(text: &str, interface: &Interface<'static>) {
    let mut heads = items(text, "Fn");
    for method in interface.methods() {
        let inputs: String =
            method.inputs().map(|input| format!(" \"{}: {}\"", input.name(), input.ty())).collect();
        let head = format!("{}{inputs}", method.name());
        let text = heads.remove(head.as_str()).unwrap_or_else(|| panic!("{head} is not explained"));
        assert_explained(&head, text, method.outputs());
    }
    assert!(heads.is_empty(), "{:?} do not exist", heads.keys());
}

#[test]
fn every_method_is_explained_and_no_other() {
    assert_methods_stand_in(section("METHODS"), &described(CONTROL));
    let others = section("OTHER INTERFACES");
    assert_methods_stand_in(part(others, ".Ss io.systemd.service", ".Ss "), &described(SYSTEMD));
}

#[test]
fn every_type_is_explained_and_no_other() {
    let interface = described(CONTROL);
    let types = section("TYPES");
    let explained = items(types, "Vt");
    for ty in interface.custom_types() {
        match ty {
            CustomType::Object(object) => {
                assert_explained(object.name().as_str(), explained[object.name().as_str()], object.fields());
            }
            CustomType::Enum(choice) => {
                for variant in choice.variants() {
                    assert!(types.contains(&format!(".Ql {}", variant.name())), "{}", variant.name());
                }
            }
        }
    }
    let known: BTreeSet<_> = interface.custom_types().map(|ty| ty.name().as_str()).collect();
    assert_eq!(marked(PAGE, "Vt"), known);
}

#[test]
fn every_error_is_explained_and_no_other() {
    let interface = described(CONTROL);
    let explained = items(section("ERROR REPLIES"), "Er");
    for error in interface.errors() {
        assert_explained(error.name().as_str(), explained[error.name().as_str()], error.fields());
    }
    assert_eq!(explained.len(), interface.errors().count(), "{:?}", explained.keys());
}

#[test]
fn no_field_is_named_that_does_not_exist() {
    let interface = described(CONTROL);
    let mut known = BTreeSet::new();
    for method in interface.methods() {
        known.extend(names(method.inputs().chain(method.outputs())));
    }
    for object in interface.custom_types().filter_map(CustomType::as_object) {
        known.extend(names(object.fields()));
    }
    for error in interface.errors() {
        known.extend(names(error.fields()));
    }
    known.insert("more"); // a part of the protocol
    for title in ["METHODS", "TYPES", "ERROR REPLIES"] {
        let unknown: Vec<_> = marked(section(title), "Va").difference(&known).copied().collect();
        assert!(unknown.is_empty(), "{title}: {unknown:?}");
    }
}

/// What stands in a function of the source, which the compiler keeps complete.
fn body(function: &str) -> &'static str {
    let (_, body) = EVENTS.split_once(&format!("pub fn {function}(&self)")).expect(function);
    body.split_once("\n    }\n").expect("its end").0
}

fn variants(arms: &str) -> impl Iterator<Item = &str> {
    arms.split("Self::").skip(1).map(|arm| arm.split(|c: char| !c.is_alphanumeric()).next().unwrap())
}

/// Those that are not of the level info.
fn levels() -> BTreeMap<&'static str, String> {
    let mut levels = BTreeMap::new();
    let mut rest = body("level");
    while let Some((arms, after)) = rest.split_once("=> Level::") {
        let (level, next) = after.split_once(',').unwrap();
        levels.extend(variants(arms).map(|variant| (variant, level.to_lowercase())));
        rest = next;
    }
    levels
}

#[test]
fn the_catalog_explains_every_error_and_warning_and_nothing_else() {
    let ids: BTreeMap<_, _> = MESSAGE_IDS
        .lines()
        .filter_map(|line| line.split_once("=> \""))
        .map(|(arm, id)| (variants(arm).next().unwrap(), id.split('"').next().unwrap()))
        .collect();
    let urgent = levels().into_iter().filter(|(_, level)| level == "error" || level == "warn");
    assert_eq!(ids.keys().copied().collect::<BTreeSet<_>>(), urgent.map(|(variant, _)| variant).collect());

    let entries: BTreeMap<_, _> =
        CATALOG.split("\n-- ").skip(1).map(|entry| entry.split_once('\n').expect("an entry")).collect();
    assert_eq!(entries.keys().copied().collect::<BTreeSet<_>>(), ids.values().copied().collect());
    assert_eq!(CATALOG.matches("\n-- ").count(), ids.len(), "no identifier stands for two");
    let (_, with_reason) = EVENTS.split_once("fn line(&self)").expect("what becomes of an event");
    for (variant, id) in ids {
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        let (head, text) = entries[id].split_once("\n\n").expect("a text below the head");
        assert!(head.contains("Subject: ") && head.contains("\nDefined-By: pixeld\n"), "{head}");
        let (_, pages) = head.split_once("Documentation: ").expect("where to read on");
        assert!(pages.split_whitespace().all(|page| page.starts_with("man:")), "{head}");
        assert!(text.trim().replace("@REASON@", "").len() > 80, "{variant} is not explained");
        // journalctl fills in what the message has.
        assert!(!entries[id].contains("@WORKER@") || variant == "WorkerStuck", "{variant}");
        assert!(
            !text.contains("@REASON@") || with_reason.contains(&format!("Self::{variant} {{")),
            "{variant}"
        );
        let width = entries[id].lines().map(str::len).max();
        assert!(width <= Some(80), "{variant}");
    }
}

#[test]
fn every_event_is_explained_at_its_level_and_no_other() {
    let levels = levels();
    let mut events: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for arm in body("name").lines().filter(|line| line.contains("=> \"")) {
        let variant = variants(arm).next().unwrap();
        let level = levels.get(variant).cloned().unwrap_or("info".into());
        events.entry(level).or_default().insert(arm.split('"').nth(1).unwrap());
    }
    assert!(events["error"].contains("workerStuck") && events["info"].contains("ready"), "{events:?}");
    for (level, events) in events {
        let explained = items(part(section("EVENTS"), &format!(".Ss {level}"), ".Ss "), "Sy");
        assert_eq!(explained.into_keys().collect::<BTreeSet<_>>(), events, "{level}");
    }
}

/// The displays of the page, as a reader sees them.
fn displays() -> impl Iterator<Item = String> {
    let displays = PAGE.split("\n.Bd -literal -offset indent\n").skip(1);
    let text = displays.map(|display| display.split_once("\n.Ed").expect("its end").0);
    text.map(|text| text.replace("\\(aq", "'").replace("\\e", "\\"))
}

/// The commands of the page that begin so, each with what it printed.
fn commands(begin: &str) -> Vec<(String, String)> {
    let all = displays().flat_map(|display| {
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

/// A value without what differs from time to time.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), if name == "error" { value.clone() } else { shape(value) }))
            // The sockets of a daemon by hand have no group of their own.
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
fn the_examples_for_socat_print_what_the_manual_shows() {
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
fn the_examples_for_varlinkctl_bring_the_replies_that_the_manual_shows() {
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
            assert_eq!(
                shape(&reply["parameters"]),
                shape(&serde_json::from_str(shown).unwrap()),
                "{command}"
            );
        }
    }
}

#[test]
fn the_example_in_python_prints_each_event_as_it_happens() {
    let mut daemon = Daemon::start("workers = 2");
    let program = displays().find(|display| display.starts_with("import ")).expect("a program");
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
