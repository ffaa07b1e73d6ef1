//! Where the log goes, and what is in it.

use std::{
    fs,
    os::{linux::fs::MetadataExt, unix::net::UnixDatagram},
};

use crate::support::{Daemon, ECHO, PATIENCE, PIXEL, Setup, eventually, post, request, stdout};

#[test]
fn systemd_reads_the_level_of_each_line() {
    let setup = Setup::new("[log]\ntarget = \"stderr\"");
    let stderr = fs::metadata(setup.stderr_file()).unwrap();
    let stream = format!("{}:{}", stderr.st_dev(), stderr.st_ino());
    let daemon = setup.environment("JOURNAL_STREAM", &stream).start();
    let line = daemon.wait_for_log("Ready after");
    assert!(line.starts_with("<6>Ready after"), "{line}");
    assert!(daemon.log().lines().all(|line| line.starts_with('<')), "{}", daemon.log());
}

#[test]
fn a_log_in_a_file_is_plain_text() {
    let daemon = Setup::new("").environment("JOURNAL_STREAM", "1:2").start();
    let line = daemon.wait_for_log("Ready after");
    assert!(line.contains("Z info  Ready after") && line.starts_with("20"), "{line}");
    assert!(!daemon.log().contains('\x1b'), "{}", daemon.log());
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_it_serves_all_the_same() {
    let daemon = Setup::new("").before("exec 2>/dev/full").start();
    assert_eq!(daemon.unix_client().ask(post(PIXEL)).body, ECHO);
    let dropped = daemon.stats()["logLinesDropped"].clone();
    assert!(dropped.as_u64() >= Some(2), "{dropped}");
    let events = stdout(&daemon.ctl(&["events"]));
    assert!(events.contains("lines are dropped: No space left on device"), "{events}");
    let doctor = stdout(&daemon.ctl(&["doctor"]));
    assert!(doctor.contains("lines of its log") && !doctor.contains("dropped no line"), "{doctor}");
}

/// Has a folder of the test's stand where the journal's socket is.
const JOURNAL_IN_FOLDER: &str = "exec unshare --user --map-root-user --mount sh -ec '
    mount -t tmpfs tmpfs /run
    mkdir -p /run/systemd/journal
    mount --bind \"${NOTIFY_SOCKET%/*}/journal\" /run/systemd/journal
    exec \"$0\" \"$@\"' \"$0\" \"$@\"";

#[test]
fn standard_error_has_the_log_for_as_long_as_the_journal_cannot_be_reached() {
    let setup = Setup::new("[log]\ntarget = \"journal\"").before(JOURNAL_IN_FOLDER);
    fs::create_dir(setup.folder().join("journal")).unwrap();
    let socket = setup.folder().join("journal/socket");
    let journal = || {
        let journal = UnixDatagram::bind(&socket).unwrap();
        journal.set_read_timeout(Some(PATIENCE)).unwrap();
        journal
    };
    let wait_for_entry = |journal: &UnixDatagram, text: &str| {
        let mut entry = [0; 4096];
        while !String::from_utf8_lossy(&entry).contains(text) {
            journal.recv(&mut entry).unwrap_or_else(|error| panic!("{text:?} in the journal: {error}"));
        }
    };

    let first = journal();
    let daemon = setup.start();
    wait_for_entry(&first, "Ready after");
    drop(first);
    daemon.ctl(&["log-level", "debug"]);
    daemon.wait_for_log("Log level set from info to debug");
    fs::remove_file(&socket).unwrap();
    daemon.ctl(&["drain"]);
    daemon.wait_for_log("Drained by");

    let second = journal();
    daemon.ctl(&["resume"]);
    wait_for_entry(&second, "Resumed by");
    let log = daemon.log();
    assert!(!log.contains("Ready after") && !log.contains("Resumed"), "{log}");
    assert_eq!(daemon.stats()["logLinesDropped"], 0);
}

/// As systemd starts a service while journald does not run.
#[test]
fn journal_that_was_away_at_the_start_is_used_when_it_is_back() {
    for target in ["auto", "journal"] {
        let setup = Setup::new(&format!("[log]\ntarget = \"{target}\""))
            .before("exec 2>/dev/null")
            .before(JOURNAL_IN_FOLDER);
        fs::create_dir(setup.folder().join("journal")).unwrap();
        let socket = setup.folder().join("journal/socket");
        let daemon = setup.start();
        let lost =
            eventually("lost lines", || daemon.stats()["logLinesDropped"].as_u64().filter(|lost| *lost >= 2));
        let events = stdout(&daemon.ctl(&["events"]));
        assert!(events.contains("lines are dropped: the journal cannot be reached"), "{events}");
        let doctor = stdout(&daemon.ctl(&["doctor"]));
        assert!(doctor.contains("lines of its log") && !doctor.contains("every line"), "{doctor}");

        let journal = UnixDatagram::bind(&socket).unwrap();
        journal.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut entry = [0; 4096];
        // By itself, without another event.
        while !String::from_utf8_lossy(&entry).contains(" not written: ") {
            journal.recv(&mut entry).unwrap_or_else(|error| panic!("{target}: no entry: {error}"));
        }
        assert!(daemon.stats()["logLinesDropped"].as_u64().unwrap() >= lost);
    }
}

#[test]
fn a_refusal_is_logged_when_asked_for() {
    let daemon = Daemon::start("workers = 1\n[log]\nlevel = \"debug\"");
    daemon.client().ask(request("POST", "/nope", "", ""));
    let line = daemon.wait_for_log("Answered 404: no such path");
    assert!(line.contains("worker=1") && line.contains("client=127.0.0.1:"), "{line}");
    daemon.unix_client().ask(request("GET", "/pixel", "", ""));
    assert!(daemon.wait_for_log("Answered 405: not a POST").contains("client=unix"));
    daemon.unix_client().ask(request("GET", "/", "x-real-ip: 192.0.2.7\r\n", ""));
    daemon.wait_for_log("client=192.0.2.7");
}

#[test]
fn requests_are_not_logged_unless_asked_for() {
    let mut daemon = Daemon::start("");
    let mut client = daemon.client();
    client.ask(post(PIXEL));
    client.ask(request("POST", "/nope", "", ""));
    daemon.stop();
    let log = daemon.log();
    assert!(!log.contains("Answered") && !log.contains("client="), "{log}");
    assert!(log.contains("2 requests answered"), "{log}");
}
