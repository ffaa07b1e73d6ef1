//! Exit statuses, signals and variables: what a service manager and a shell see of the programs.

use std::collections::{BTreeMap, BTreeSet};

use nix::sys::signal::Signal;
use pixeld::exit::Exit;

use crate::{
    page::{PAGES, PIXELD, PIXELDCTL, items, marked, section},
    source::{code, names_after},
};

/// How a page heads the status of this name.
fn head(name: &str) -> String {
    let exit = Exit::ALL.into_iter().find(|exit| format!("{exit:?}") == name).expect(name);
    match exit {
        Exit::Ok | Exit::Unwell => format!("{}", exit as u8),
        _ => format!("{} Pq EX_{}", exit as u8, name.to_uppercase()),
    }
}

#[test]
fn every_exit_status_is_explained_and_no_other() {
    for (page, folder) in [(PIXELD, "src/daemon"), (PIXELDCTL, "src/ctl")] {
        let code = code(&[folder]);
        let used = names_after(&code, "Exit::").filter(|name| name.starts_with(char::is_uppercase));
        // What the command line itself is answered with.
        let used: BTreeSet<_> = used.chain(["Ok", "Usage", "IoErr"]).map(head).collect();
        let explained = section(page, "EXIT STATUS").lines().filter_map(|line| line.strip_prefix(".It "));
        assert_eq!(explained.map(String::from).collect::<BTreeSet<_>>(), used, "{folder}");
    }
}

#[test]
fn exit_status_names_are_those_of_sysexits() {
    let Ok(header) = std::fs::read_to_string("/usr/include/sysexits.h") else {
        eprintln!("not tested: there is no sysexits.h");
        return;
    };
    let known: BTreeMap<_, _> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define EX_"))
        .filter_map(|rest| rest.split_whitespace().next().zip(rest.split_whitespace().nth(1)))
        .collect();
    for exit in Exit::ALL.into_iter().filter(|exit| ![Exit::Ok, Exit::Unwell].contains(exit)) {
        let name = format!("{exit:?}").to_uppercase();
        assert_eq!(known.get(name.as_str()), Some(&(exit as u8).to_string().as_str()), "{name}");
    }
}

fn signals(folder: &str) -> BTreeSet<&'static str> {
    let code = code(&[folder]);
    let handled = names_after(&code, "SignalKind::").filter_map(|kind| match kind {
        "hangup" => Some("SIGHUP"),
        "terminate" => Some("SIGTERM"),
        "interrupt" => Some("SIGINT"),
        "window_change" => None, // draws anew, which everybody expects
        other => panic!("what does {other} do?"),
    });
    let disarmed = match folder {
        "src/daemon" => pixeld::daemon::DISARMED.map(Signal::as_str).to_vec(),
        // That a write fails is said of each exit status.
        _ => Vec::new(),
    };
    handled.chain(disarmed).collect()
}

#[test]
fn every_signal_is_explained_and_no_other() {
    let explained = section(PIXELD, "SIGNALS").lines().filter_map(|line| line.strip_prefix(".It Dv "));
    assert_eq!(
        explained.flat_map(|head| head.split(" , Dv ")).collect::<BTreeSet<_>>(),
        signals("src/daemon")
    );
    let named = marked(PIXELDCTL, "Dv").into_iter().filter(|word| word.starts_with("SIG"));
    assert_eq!(named.collect::<BTreeSet<_>>(), signals("src/ctl"));
}

/// Variables that crates read: sd-notify, jiff and anstream.
const OF_CRATES: [(&str, &[&str]); 2] = [
    ("src/daemon", &["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"]),
    ("src/ctl", &["TZ", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"]),
];

/// The variables that the code of these folders reads itself.
fn variables(folders: &[&str]) -> BTreeSet<String> {
    let mut variables = BTreeSet::new();
    for path in folders.iter().flat_map(|folder| crate::source::files(folder)) {
        let text = std::fs::read_to_string(path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        if !text.contains("env::var") {
            continue;
        }
        let reads = text.lines().filter(|line| !line.contains(".envs(") && !line.contains("env!("));
        let quoted = reads.flat_map(|line| line.split('"').skip(1).step_by(2));
        let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
        variables.extend(quoted.filter(|text| text.len() > 1 && text.chars().all(is_name)).map(String::from));
    }
    variables
}

#[test]
fn every_variable_is_explained_and_no_other() {
    let of_daemon: &[_] = &["src/daemon", "src/log", "src/systemd", "src/net", "src/worker", "src/config"];
    for ((_, of_crates), (page, folders)) in
        OF_CRATES.into_iter().zip([(PIXELD, of_daemon), (PIXELDCTL, &["src/ctl"])])
    {
        let mut read = variables(folders);
        read.extend(of_crates.iter().map(ToString::to_string));
        let explained = items(section(page, "ENVIRONMENT"), "Ev").into_keys();
        let explained = explained.flat_map(|head| head.split(" , Ev ").map(String::from));
        assert_eq!(explained.collect::<BTreeSet<_>>(), read, "{folders:?}");
        let named = marked(page, "Ev").into_iter().filter(|word| *word != "Ev");
        assert_eq!(named.map(String::from).collect::<BTreeSet<_>>(), read, "{folders:?}");
    }
    assert!(PAGES[2..].iter().all(|(_, page)| marked(page, "Ev").is_empty()), "the others name none");
}

/// What the service manager is told, by its own names.
#[test]
fn every_notification_is_explained_and_no_other() {
    let environment = items(section(PIXELD, "ENVIRONMENT"), "Ev");
    let explained = environment["NOTIFY_SOCKET"].lines().filter_map(|line| line.strip_prefix(".Ql "));
    let explained: BTreeSet<_> = explained.map(|text| text.split('=').next().unwrap()).collect();
    let code = code(&["src/systemd"]);
    let sent: BTreeSet<_> = names_after(&code, "NotifyState::")
        .flat_map(|state| match state {
            "Ready" => vec!["READY"],
            "Status" => vec!["STATUS"],
            "Reloading" => vec!["RELOADING"],
            "MonotonicUsec" | "monotonic_usec_now" => vec!["MONOTONIC_USEC"],
            "Stopping" => vec!["STOPPING"],
            "ExtendTimeoutUsec" => vec!["EXTEND_TIMEOUT_USEC"],
            "Watchdog" => vec!["WATCHDOG"],
            "FdStore" => vec!["FDSTORE"],
            "FdStoreRemove" => vec!["FDSTOREREMOVE"],
            "FdName" => vec!["FDNAME"],
            "Custom" => vec![],
            other => panic!("what does {other} say?"),
        })
        .chain(names_after(&code, "NotifyState::Custom(\""))
        .collect();
    assert_eq!(explained, sent);
}
