//! Where the log goes, and what is in it.

use std::{
    fs,
    os::{linux::fs::MetadataExt, unix::net::UnixDatagram},
    path::Path,
};

use crate::support::{Daemon, ECHO, PATIENCE, PIXEL, Setup, eventually, post, request, stdout};

#[test]
fn log_for_systemd_has_priority_prefixes() {
    let setup = Setup::new("workers = 2\n[log]\ntarget = \"stderr\"");
    let stderr = fs::metadata(setup.stderr_file()).unwrap();
    let stream = format!("{}:{}", stderr.st_dev(), stderr.st_ino());
    let daemon = setup.environment("JOURNAL_STREAM", &stream).start();
    let ready = daemon.wait_for_event("ready", &[("workers", "2")]);
    assert!(ready.text.starts_with("<6>"), "{ready:?}");
    assert!(daemon.log().lines().all(|line| line.starts_with('<')), "{}", daemon.log());
}

#[test]
fn log_in_a_file_is_plain_text() {
    let daemon = Setup::new("").environment("JOURNAL_STREAM", "1:2").start();
    let ready = daemon.wait_for_event_with("ready", "Z info  ");
    assert!(ready.text.starts_with("20"), "{ready:?}");
    assert!(!daemon.log().contains('\x1b'), "{}", daemon.log());
}

#[test]
fn unwritable_log_lines_are_counted() {
    let daemon = Setup::new("").before("exec 2>/dev/full").start();
    assert_eq!(daemon.unix_client().ask(post(PIXEL)).body, ECHO);
    let dropped = daemon.stats()["logLinesDropped"].clone();
    assert!(dropped.as_u64() >= Some(2), "{dropped}");
    let events = stdout(&daemon.ctl(&["events"]));
    assert!(events.contains("lines are dropped: No space left on device"), "{events}");
    let doctor = stdout(&daemon.ctl(&["doctor"]));
    assert!(doctor.contains("lines of its log") && !doctor.contains("dropped no line"), "{doctor}");
}

/// A journald that takes entries in the native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).
struct Journal(UnixDatagram);

impl Journal {
    fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// Waits for an entry of this event.
    fn wait_for_event(&self, name: &str) {
        // A field is its name, the length of its value, and the value.
        let length = u64::try_from(name.len()).unwrap().to_le_bytes();
        let field = [b"EVENT\n", length.as_slice(), name.as_bytes(), b"\n"].concat();
        let mut entry = [0; 4096];
        loop {
            let received =
                self.0.recv(&mut entry).unwrap_or_else(|error| panic!("{name} in the journal: {error}"));
            if entry[..received].windows(field.len()).any(|bytes| bytes == field) {
                return;
            }
        }
    }
}

/// Has a folder of the test's stand where the journal's socket is.
const JOURNAL_IN_FOLDER: &str = "exec unshare --user --map-root-user --mount sh -ec '
    mount -t tmpfs tmpfs /run
    mkdir -p /run/systemd/journal
    mount --bind \"${NOTIFY_SOCKET%/*}/journal\" /run/systemd/journal
    exec \"$0\" \"$@\"' \"$0\" \"$@\"";

#[test]
fn stderr_has_the_log_while_journald_is_down() {
    let setup = Setup::new("[log]\ntarget = \"journal\"").before(JOURNAL_IN_FOLDER);
    fs::create_dir(setup.folder().join("journal")).unwrap();
    let socket = setup.folder().join("journal/socket");
    let first = Journal::bind(&socket);
    let daemon = setup.start();
    first.wait_for_event("ready");
    drop(first);
    daemon.ctl(&["log-level", "debug"]);
    daemon.wait_for_event("logLevelSet", &[("from", "info"), ("to", "debug")]);
    fs::remove_file(&socket).unwrap();
    daemon.ctl(&["drain"]);
    daemon.wait_for_event("drained", &[]);

    let second = Journal::bind(&socket);
    daemon.ctl(&["resume"]);
    second.wait_for_event("resumed");
    for event in ["ready", "resumed"] {
        assert_eq!(daemon.logged(event).len(), 0, "{}", daemon.log());
    }
    assert_eq!(daemon.stats()["logLinesDropped"], 0);
}

/// As systemd starts a service while journald does not run.
#[test]
fn journald_down_at_start_is_used_once_back() {
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
        assert!(events.contains("lines are dropped: cannot reach the journal"), "{events}");
        let doctor = stdout(&daemon.ctl(&["doctor"]));
        assert!(doctor.contains("lines of its log") && !doctor.contains("every line"), "{doctor}");

        // By itself, without another event.
        Journal::bind(&socket).wait_for_event("logLinesDropped");
        assert!(daemon.stats()["logLinesDropped"].as_u64().unwrap() >= lost);
    }
}

#[test]
fn rejected_request_is_logged_at_debug() {
    let daemon = Daemon::start("workers = 1\n[log]\nlevel = \"debug\"");
    daemon.client().ask(request("POST", "/nope", "", ""));
    let rejected = daemon.wait_for_event("requestRejected", &[("status", "404"), ("worker", "1")]);
    assert!(rejected.field("client").starts_with("127.0.0.1:"), "{rejected:?}");
    daemon.unix_client().ask(request("GET", "/pixel", "", ""));
    daemon.wait_for_event("requestRejected", &[("status", "405"), ("client", "unix")]);
    for (body, error) in [
        (
            r#"{"x":1,"y":2,"channel":"R","value":"a"}"#,
            "a pixel (body.value: Input should be a valid integer, unable to parse string as an integer)",
        ),
        (r#"{"y":2,"channel":"R","value":1,"loc":["body","y"]}"#, "a pixel (body.x: Field required)"),
        ("{", "JSON (json_invalid at offset 1)"),
        ("[]", "a pixel (body: Input should be a valid dictionary or object to extract fields from)"),
    ] {
        daemon.client().ask(post(body));
        daemon.wait_for_event_with("requestRejected", &format!("422: the body is not {error} "));
    }
    daemon.unix_client().ask(request("GET", "/", "x-real-ip: 192.0.2.7\r\n", ""));
    daemon.wait_for_event("requestRejected", &[("client", "192.0.2.7")]);
}

#[test]
fn requests_are_not_logged_at_info() {
    let mut daemon = Daemon::start("");
    let mut client = daemon.client();
    client.ask(post(PIXEL));
    client.ask(request("POST", "/nope", "", ""));
    daemon.stop();
    daemon.wait_for_event("stopped", &[("requests", "2")]);
    assert_eq!(daemon.logged("requestRejected").len(), 0, "{}", daemon.log());
    assert!(!daemon.log().contains("client="), "{}", daemon.log());
}
