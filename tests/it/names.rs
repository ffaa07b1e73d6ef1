//! One name for one thing: files, modules, types, functions and constants have the names that other servers use
//! for the same thing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Names that an earlier version used for files, types, functions and constants; the standard term is on the
/// right.
const EARLIER: &[(&str, &str)] = &[
    ("adoptions", "policy_generation"),
    ("APART", "SAMPLE_INTERVAL"),
    ("Applies", "TakesEffect"),
    ("audience", "stdout_closed"),
    ("BEHIND", "SUBSCRIBER_LAG"),
    ("born", "started"),
    ("Bounded", "LimitedSocket"),
    ("bury", "on_worker_exit"),
    ("ByHand", "RuntimeOverrides"),
    ("contradiction", "ensure_distinct_addresses"),
    ("deal", "dispatch"),
    ("Dealt", "Dispatched"),
    ("deck", "dispatcher"),
    ("Deck", "Dispatcher"),
    ("DEEPEST", "MAX_DEPTH"),
    ("Desk", "MethodRouter"),
    ("Distribution", "HistogramSnapshot"),
    ("Door", "HttpListener"),
    ("doors", "listeners"),
    ("Doors", "Listeners"),
    ("echo", "json_writer"),
    ("entrance", "acceptor"),
    ("Entrance", "Acceptor"),
    ("everywhere", "fanout"),
    ("express", "fast_path"),
    ("Fault", "ConfigError"),
    ("Faults", "ConfigErrors"),
    ("feed", "subscription"),
    ("Feed", "Subscription"),
    ("Files", "FdBudget"),
    ("gather", "acquire"),
    ("give_way", "yield_now"),
    ("GIVING_UP", "RELEASE_GRACE"),
    ("guarded", "catch_panic"),
    ("Hand", "WorkerHandle"),
    ("handover", "handoff"),
    ("Hands", "WorkerSet"),
    ("heir", "handoff"),
    ("Heir", "Handoff"),
    ("house", "daemon_state"),
    ("House", "Daemon"),
    ("is_abandoned", "is_stale"),
    ("is_to_change", "ensure_running"),
    ("judge", "checks, parse"),
    ("KEPT", "WINDOW, HISTORY_LEN"),
    ("Lane", "FastPath"),
    ("Left", "PreviousState"),
    ("legible", "sanitize"),
    ("live", "main_loop"),
    ("locate", "socket_path"),
    ("look", "probe, theme"),
    ("Look", "Theme"),
    ("look_after", "on_tick"),
    ("make_do", "relieve"),
    ("Manner", "ManagerBehavior"),
    ("Memory", "SharedStats"),
    ("mend", "fix"),
    ("news", "recent_events"),
    ("News", "RecentEvents, HostUpdate"),
    ("oddities", "warnings"),
    ("Order", "Command, SortOrder"),
    ("outbox", "sender"),
    ("Outbox", "HandoffSender"),
    ("outlet", "handoff_tx"),
    ("Parked", "DetachedConnection"),
    ("PATIENCE", "MANAGER_TIMEOUT, COMMAND_TIMEOUT"),
    ("place", "host_target"),
    ("Place", "HostTarget"),
    ("Reception", "ControlListener"),
    ("refit", "update_limit"),
    ("Refusal", "BodyRejection"),
    ("REST", "RESERVED"),
    ("room", "wait_for_capacity"),
    ("SHORTLY", "RETRY_DELAY"),
    ("shortage", "accept_backoff"),
    ("Shortage", "AcceptBackoff"),
    ("similar", "suggest"),
    ("spelled", "clean_int_str"),
    ("standing", "pending_request"),
    ("STUCK", "STALL_TIMEOUT"),
    ("tell", "log, report, notify, write, send"),
    ("tell_log", "install"),
    ("tell_lost", "log_handoff_failure"),
    ("tell_status", "notify_status"),
    ("Told", "RecordedEvent"),
    ("trend", "rate_window"),
    ("Trend", "RateWindow"),
    ("Turn", "ResizeGuard, ReadPermit, AcceptGuard"),
    ("twice", "duplicate_key"),
    ("Unseen", "Unavailable"),
    ("Verdict", "CheckResult"),
    ("Way", "Transport, Engine"),
];

/// Folders that are not checked yet.
const EXEMPT: &[&str] = &[];

/// The words before the name of an item.
const ITEMS: &[&str] = &["const", "enum", "fn", "mod", "static", "struct", "trait", "type", "union"];

/// Of these, those that declare a type.
const TYPES: &[&str] = &["enum", "struct", "trait", "type", "union"];

/// Characters of a test's name; `cargo test` prints it on a line with its modules.
const MAX_TEST_NAME: usize = 60;

/// An item that a file declares.
struct Item {
    keyword: &'static str,
    name: String,
    is_outermost: bool,
    place: String,
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension() == Some("rs".as_ref()) {
            files.push(path);
        }
    }
}

/// The items of a file, but for those of its tests, which are at its end.
fn items(path: &Path) -> Vec<Item> {
    let text = fs::read_to_string(path).unwrap();
    let code = text.lines().take_while(|line| !matches!(*line, "mod tests {" | "mod tests;"));
    let declared = |(number, line): (usize, &str)| {
        let code = line.split("//").next()?;
        let mut words = code.split_whitespace();
        let keyword = words.find_map(|word| ITEMS.iter().find(|item| **item == word))?;
        let rest = words.next()?;
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        Some(Item {
            keyword,
            name,
            is_outermost: !line.starts_with(' '),
            place: format!("{}:{}", path.display(), number + 1),
        })
    };
    code.enumerate().filter_map(declared).collect()
}

fn all_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    rust_files(Path::new("src"), &mut files);
    rust_files(Path::new("crates"), &mut files);
    files.retain(|path| !EXEMPT.iter().any(|exempt| path.starts_with(exempt)));
    assert!(files.len() > 100, "run in the folder of Cargo.toml: {files:?}");
    files.sort();
    files
}

fn standard_term(name: &str) -> Option<&'static str> {
    EARLIER.iter().find(|(earlier, _)| *earlier == name).map(|(_, term)| *term)
}

#[test]
fn files_and_folders_have_standard_names() {
    let mut wrong = Vec::new();
    for path in all_files() {
        for name in path.with_extension("").iter().filter_map(|part| part.to_str()) {
            wrong.extend(standard_term(name).map(|term| format!("{}: {name} -> {term}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn items_have_standard_names() {
    let mut wrong = Vec::new();
    for item in all_files().iter().flat_map(|path| items(path)) {
        wrong
            .extend(standard_term(&item.name).map(|term| format!("{}: {} -> {term}", item.place, item.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn type_names_are_declared_once() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for item in all_files().iter().flat_map(|path| items(path)) {
        if TYPES.contains(&item.keyword) && item.is_outermost {
            places.entry(item.name).or_default().push(item.place);
        }
    }
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "one name for several types: {places:#?}");
}

/// The names of the tests in a file: each follows an attribute whose path ends in `test`.
fn tests(text: &str) -> Vec<&str> {
    let mut is_test = false;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(attribute) = line.strip_prefix("#[") {
            is_test |= attribute.split([']', '(']).next().is_some_and(|path| path.ends_with("test"));
        } else if let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) {
            names.extend(name.split('(').next());
            is_test = false;
        }
    }
    names
}

#[test]
fn test_names_are_short() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "fuzz/src"] {
        rust_files(Path::new(folder), &mut files);
    }
    let mut count = 0;
    let mut long = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for name in tests(&text) {
            count += 1;
            if name.len() > MAX_TEST_NAME {
                long.push(format!("{}: {name} has {} characters", file.display(), name.len()));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
    assert!(count > 700, "only {count} tests were found");
}

#[test]
fn architecture_names_existing_files() {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let words = text.split(|c: char| !c.is_alphanumeric() && !"/._-".contains(c));
    let paths: BTreeSet<_> = words
        .map(|word| word.trim_end_matches(['.', '/']))
        .filter(|word| {
            ["src/", "crates/", "tests/", "docs/", "systemd/"].iter().any(|root| word.starts_with(root))
        })
        .collect();
    assert!(paths.len() > 40, "{paths:?}");
    let missing: Vec<_> = paths.into_iter().filter(|path| !Path::new(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
