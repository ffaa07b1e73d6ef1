//! How pixeld starts, reloads, stops, and what it tells its operator and its service manager.

mod clock;
mod descriptors;
mod log;
mod start;
use std::{
    cell::Cell,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    Client, Daemon, ECHO, PIXEL, PIXELD, Setup, Varlink, captured, code, ctl, eventually, post, run, stderr,
    stdout,
};

/// `pixeld --check` of a file with this text, whose path is shown as FILE.
fn check(text: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("some.toml");
    fs::write(&file, text).unwrap();
    let output = captured(Command::new(PIXELD).arg("--check").arg("--config").arg(&file));
    let said = (stdout(&output) + &stderr(&output)).replace(file.to_str().unwrap(), "FILE");
    (code(&output), said)
}

fn pixeld(argument: &str) -> Output {
    captured(Command::new(PIXELD).arg(argument))
}

#[test]
fn check_accepts_a_valid_file() {
    assert_eq!(check("workers = 3\n[limits]\nbody = \"1MiB\"\n"), (0, "FILE: valid\n".into()));
}

#[test]
fn check_reports_file_line_key_and_cause() {
    let text = "workers = 0\n\n[limits]\nbody = \"lots\"\nbuddy = 1\n\n[listen]\ncontrol = \"127.0.0.1:1\"\n";
    let (code, said) = check(text);
    let lines: Vec<_> = said.lines().collect();
    for (line, parts) in [
        ("FILE:1: workers: ", ["0", "1 to 1024"]),
        ("FILE:4: limits.body: ", ["\"lots\"", "16KiB"]),
        ("FILE:5: limits.buddy: ", ["unknown key", "limits.body"]),
        ("FILE:8: listen.control: ", ["127.0.0.1:1", "unix:/"]),
    ] {
        let fault = lines.iter().find(|fault| fault.starts_with(line)).unwrap_or_else(|| panic!("{said}"));
        assert!(parts.iter().all(|part| fault.contains(part)), "{fault}");
    }
    assert_eq!((code, lines.len()), (78, 4), "{said}");
}

#[test]
fn check_reports_the_line_of_a_syntax_error() {
    let (code, said) = check("workers = 3\nlimits = {\n");
    assert_eq!(code, 78);
    assert!(said.starts_with("FILE:2: ") || said.starts_with("FILE:3: "), "{said}");
}

#[test]
fn check_rejects_irregular_and_large_files() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for file in [pipe.as_path(), std::path::Path::new("/dev/zero"), folder.path()] {
        let output = captured(Command::new(PIXELD).arg("--check").arg("--config").arg(file));
        let expected = format!("{}: cannot be read: not a regular file\n", file.display());
        assert_eq!((code(&output), stderr(&output)), (78, expected));
    }
    let long = folder.path().join("long.toml");
    fs::write(&long, "# \n".repeat(1 << 20)).unwrap();
    let output = captured(Command::new(PIXELD).arg("--check").arg("--config").arg(&long));
    assert!(stderr(&output).contains("longer than 1 MiB"), "{output:?}");
}

#[test]
fn check_reports_a_missing_file() {
    let output = captured(Command::new(PIXELD).args(["--check", "--config", "/nowhere/pixeld.toml"]));
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("/nowhere/pixeld.toml: cannot be read"), "{output:?}");
}

#[test]
fn version_option_prints_the_version() {
    let output = pixeld("--version");
    assert_eq!((code(&output), stdout(&output)), (0, format!("pixeld {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn unknown_option_is_a_usage_error() {
    let output = pixeld("--wrong");
    assert_eq!(code(&output), 64);
    assert!(stderr(&output).contains("--wrong"), "{output:?}");
    assert_eq!(stdout(&output), "");
}

#[test]
fn faulty_configuration_fails_the_start() {
    let (code, log) = Setup::new("\nworkers = \"four\"").start_and_fail();
    assert_eq!(code, 78);
    assert!(log.contains("pixeld.toml:2: workers: \"four\" is not valid"), "{log}");
}

#[test]
fn drop_in_overrides_single_keys() {
    let setup = Setup::new("workers = 1\n[limits]\nconnections = 77");
    let folder = setup.folder().join("pixeld.toml.d");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("50-more.toml"), "workers = 3").unwrap();
    let daemon = setup.start();
    let stats = daemon.stats();
    assert_eq!((&stats["workers"], &stats["connections"]["limit"]), (&3.into(), &77.into()));
    daemon.wait_for_event_with("configLoaded", "50-more.toml");
}

#[test]
fn port_in_use_is_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, log) = Setup::new("").tcp(address).start_and_fail();
    assert_eq!(code, 71);
    assert!(log.contains(&format!("cannot listen on {address}: Address already in use")), "{log}");
}

#[test]
fn unix_socket_in_use_is_reported_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken.sock");
    let _taken = UnixListener::bind(&path).unwrap();
    let (code, log) = Setup::new("").unix(&path).start_and_fail();
    assert_eq!(code, 71);
    let cause = format!("cannot listen on unix:{}: Address already in use", path.display());
    assert!(log.contains(&cause), "{log}");
    UnixStream::connect(&path).expect("it is still there");
}

#[test]
fn missing_inherited_sockets_are_named() {
    let (code, log) = Setup::new("").argument("--sockets=inherited").start_and_fail();
    assert_eq!(code, 78);
    for socket in ["http (pixeld.socket", "control (pixeld-control.socket)"] {
        assert!(log.contains(socket), "{log}");
    }
    assert!(!log.contains("pixeld-admin.socket"), "{log}");
}

#[test]
fn only_the_missing_inherited_socket_is_named() {
    let setup = Setup::new("").argument("--sockets=inherited");
    let admin = UnixListener::bind(setup.folder().join("c.sock")).unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, log) = setup.socket("http", http).socket("admin", admin).start_and_fail();
    assert_eq!(code, 78);
    assert!(log.contains("control (pixeld-control.socket)"), "{log}");
    assert!(!log.contains("http ("), "{log}");
}

#[test]
fn inherited_sockets_are_served_and_kept() {
    let setup = Setup::new("");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let path = setup.folder().join("inherited.sock");
    let unix = UnixListener::bind(&path).unwrap();
    // Who comes before the daemon is served, too.
    let mut early = Client::tcp(address);
    early.send(post(PIXEL));

    let mut daemon = setup.socket("http", tcp).socket("http", unix).start();
    assert_eq!(early.answer().body, ECHO);
    assert_eq!(Client::tcp(address).ask(post(PIXEL)).body, ECHO);
    assert_eq!(Client::unix(&path).ask(post(PIXEL)).body, ECHO);
    let listeners = serde_json::json!([address.to_string(), format!("unix:{}", path.display())]);
    assert_eq!(daemon.stats()["listeners"], listeners);
    assert!(!daemon.http_socket().exists(), "what is inherited is not bound again");

    assert!(daemon.stop().success());
    assert!(path.exists(), "systemd's socket is not the daemon's to remove");
}

#[test]
fn all_sockets_may_be_inherited() {
    let setup = Setup::new("").argument("--sockets=inherited");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let unix = |name| UnixListener::bind(setup.folder().join("pixeld").join(name)).unwrap();
    let (control, admin) = (unix("control.sock"), unix("admin.sock"));
    let mut daemon = setup.socket("admin", admin).socket("http", tcp).socket("control", control).start();
    assert_eq!(Client::tcp(address).ask(post(PIXEL)).body, ECHO);
    assert!(ctl(&daemon.control_socket(), &["stats"]).status.success());
    assert!(daemon.ctl(&["workers", "1"]).status.success());
    assert!(daemon.stop().success());
    assert!(daemon.control_socket().exists() && daemon.admin_socket().exists());
}

/// As with `systemctl disable --now pixeld-admin.socket`.
#[test]
fn daemon_without_admin_socket_is_read_only() {
    let setup = Setup::new("").argument("--sockets=inherited");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let control = UnixListener::bind(setup.folder().join("pixeld/control.sock")).unwrap();
    let mut daemon = setup.socket("http", tcp).socket("control", control).start();
    daemon.wait_for_event_with("ready", "no admin socket");
    assert_eq!(Client::tcp(address).ask(post(PIXEL)).body, ECHO);
    assert!(!daemon.admin_socket().exists(), "it opens none itself");
    let (reader, admin) = (daemon.control_socket(), daemon.admin_socket());
    for command in ["drain", "reload"] {
        let output = ctl(&admin, &[command]);
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        assert!(stderr(&output).contains("has no admin socket"), "{output:?}");
        assert!(stderr(&output).contains("systemctl enable pixeld-admin.socket"), "{output:?}");
        let output = ctl(&reader, &[command]);
        assert_eq!(output.status.code(), Some(77), "{output:?}");
        assert!(stderr(&output).contains("systemctl enable pixeld-admin.socket"), "{output:?}");
    }
    let reply = Varlink::connect(&reader).call("io.pixeld.Control.Drain", &json!({}));
    assert_eq!(reply["error"], "io.pixeld.Control.NotPermitted");
    assert_eq!(reply["parameters"], json!({ "socket": null, "group": null }));
    let config: Value = serde_json::from_str(&stdout(&ctl(&reader, &["config", "--json"]))).unwrap();
    let settings = config["settings"].as_array().unwrap();
    let setting = settings.iter().find(|setting| setting["key"] == "listen.admin").unwrap();
    assert_eq!((&setting["value"], &setting["origin"]), (&"".into(), &"systemd".into()));

    daemon.configure("workers = 3");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_event_with("reloaded", "by SIGHUP: ");
    let workers: Value = serde_json::from_str(&stdout(&ctl(&reader, &["workers", "--json"]))).unwrap();
    assert_eq!(workers["configured"], 3);
    assert!(daemon.stop().success());
}

#[test]
fn unknown_inherited_socket_is_closed_and_logged() {
    let setup = Setup::new("");
    let path = setup.folder().join("other.sock");
    let daemon = setup.socket("metrics", UnixListener::bind(&path).unwrap()).start();
    daemon.wait_for_event_with("socketRejected", "\"metrics\"");
    UnixStream::connect(&path).expect_err("nobody listens there any more");
    assert_eq!(daemon.unix_client().ask(post(PIXEL)).body, ECHO);
}

#[test]
fn own_sockets_have_mode_0660_and_are_removed() {
    let mut daemon = Daemon::start("");
    let paths = [daemon.http_socket(), daemon.control_socket(), daemon.admin_socket()];
    for path in &paths {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o660, "{}", path.display());
    }
    assert!(daemon.stop().success());
    for path in &paths {
        assert!(!path.exists(), "{}", path.display());
    }
}

#[test]
fn ready_is_notified_once_it_serves() {
    let daemon = Daemon::start("workers = 2");
    assert_eq!(daemon.unix_client().ask(post(PIXEL)).body, ECHO);
    assert!(daemon.ready.contains("STATUS=Serving: 2 workers"), "{}", daemon.ready);
    let ready = daemon.wait_for_event("ready", &[("workers", "2")]);
    assert!(ready.text.contains(" 127.0.0.1:"), "{ready:?}");
}

#[test]
fn status_text_is_kept_current() {
    let daemon = Daemon::start("workers = 2");
    let mut client = daemon.client();
    for _ in 0..7 {
        client.ask(post(PIXEL));
    }
    let status = |notice: &str| notice.contains("STATUS=") && notice.contains("7 requests");
    let notice = daemon.wait_for_notice_where("7 requests", status);
    assert!(notice.contains("2 workers, 1 connection"), "{notice}");
}

#[test]
fn watchdog_is_fed() {
    let daemon = Setup::new("").environment("WATCHDOG_USEC", "400000").start();
    let started = Instant::now();
    for _ in 0..5 {
        daemon.wait_for_notice("WATCHDOG=1");
    }
    assert!(started.elapsed() > Duration::from_millis(100), "it is not fed without end");
}

#[test]
fn watchdog_of_another_process_is_not_fed() {
    let setup = Setup::new("").environment("WATCHDOG_USEC", "400000").environment("WATCHDOG_PID", "1");
    let mut daemon = setup.start();
    assert_eq!(daemon.client().ask(post(PIXEL)).body, ECHO);
    // Fed every 100 ms, it would come before this one, which comes of itself within a second.
    let request = "1 request";
    let fed = Cell::new(false);
    daemon.wait_for_notice_where(request, |notice| {
        fed.set(fed.get() || notice.contains("WATCHDOG=1"));
        notice.contains(request)
    });
    assert!(!fed.get());
    assert!(daemon.stop().success());
}

#[test]
fn watchdog_of_zero_is_ignored() {
    let mut daemon = Setup::new("").environment("WATCHDOG_USEC", "0").start();
    assert_eq!(daemon.client().ask(post(PIXEL)).body, ECHO);
    assert!(daemon.stop().success());
}

#[test]
fn soft_file_limit_is_raised_to_the_hard_one() {
    let daemon = Setup::new("").before("ulimit -Sn 64").start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = line.split_whitespace().skip(3).take(2).collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    assert_eq!(soft, hard);
}

#[test]
fn stop_finishes_the_request_in_flight() {
    let mut daemon = Daemon::start("workers = 1\n[timeouts]\ndrain = \"20s\"");
    let address = daemon.address();
    let (mut client, mut idle) = (daemon.client(), daemon.client());
    let rest = client.begin_request();
    assert_eq!(idle.ask(post(PIXEL)).status, 200);
    daemon.signal(Signal::SIGTERM);

    let notice = daemon.wait_for_notice("STOPPING=1");
    let extension = notice.lines().find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC="));
    let extension: u64 = extension.expect("systemd is asked for time").parse().unwrap();
    assert!((19_000_000..60_000_000).contains(&extension), "{notice}");
    assert!(notice.contains("STATUS=Stopping: "), "{notice}");
    eventually("no other client is let in", || TcpStream::connect(address).err());
    // That shows that the worker knows.
    idle.expect_end();

    let answer = client.ask(rest);
    assert_eq!((answer.body.as_str(), answer.field("connection")), (ECHO, Some("close")));
    client.expect_end();
    assert_eq!(daemon.wait().code(), Some(0));
    daemon.wait_for_event("stopping", &[]);
    daemon.wait_for_event("stopped", &[("cut_off", "0")]);
}

#[test]
fn stop_does_not_wait_for_idle_connections() {
    let mut daemon = Daemon::start("[timeouts]\ndrain = \"1h\"");
    let mut client = daemon.client();
    assert_eq!(client.ask(post(PIXEL)).status, 200);
    let never_used = daemon.client();
    eventually("both are accepted", || (daemon.stats()["connections"]["open"] == 2).then_some(()));
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.wait().code(), Some(0));
    client.expect_end();
    never_used.expect_end();
}

#[test]
fn stop_under_load_cuts_no_request() {
    for _ in 0..5 {
        let mut daemon = Daemon::start("workers = 2");
        let path = daemon.http_socket();
        let clients: Vec<_> = (0..32).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let asking: Vec<_> =
            clients.into_iter().map(|client| thread::spawn(|| ask_until_closed(client))).collect();
        eventually("that all of them are at it", || {
            (daemon.stats()["requests"]["ok"].as_u64().unwrap() > 320).then_some(())
        });
        assert!(daemon.stop().success());
        for client in asking {
            client.join().unwrap();
        }
        daemon.wait_for_event("stopped", &[("cut_off", "0")]);
    }
}

/// Whatever comes, the daemon is asked again as long as it takes requests.
fn ask_until_closed(mut client: UnixStream) {
    let request = post(PIXEL);
    let mut answer = [0; 1024];
    while client.write_all(request.as_bytes()).is_ok() && client.read(&mut answer).is_ok_and(|n| n > 0) {}
}

#[test]
fn full_stderr_keeps_the_exit_code() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (arguments, code) in [(&["--check", "--config", "/nowhere"][..], 78), (&["--walk"], 64)] {
        let status = Command::new(PIXELD).args(arguments).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
    for argument in ["--check", "--help", "--version"] {
        let status = Command::new(PIXELD).arg(argument).stdout(full()).status().unwrap();
        assert_eq!(status.code(), Some(74), "{argument}");
    }
    let checked = run(Command::new(PIXELD)
        .args(["--check", "--config", "/dev/null"])
        .stdout(full())
        .stderr(Stdio::piped()));
    assert_eq!(code(&checked), 74);
    let expected = "pixeld: the result cannot be written: No space left on device";
    assert!(stderr(&checked).starts_with(expected), "{checked:?}");
}

#[test]
fn second_signal_stops_at_once() {
    let mut daemon = Daemon::start("[timeouts]\ndrain = \"1h\"");
    let mut client = daemon.client();
    client.begin_request();
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_notice("STOPPING=1");
    assert_eq!(daemon.stop().code(), Some(0));
    client.expect_cut();
}

#[test]
fn unfinished_request_is_cut_at_drain_timeout() {
    let mut daemon = Daemon::start("[timeouts]\ndrain = \"300ms\"");
    let mut client = daemon.client();
    client.begin_request();
    assert_eq!(daemon.stop().code(), Some(0));
    client.expect_cut();
    daemon.wait_for_event("stopped", &[("cut_off", "1")]);
}

#[test]
fn reload_applies_to_open_connections() {
    let daemon = Daemon::start("workers = 1");
    let mut client = daemon.client();
    assert_eq!(client.ask(post(&format!("{PIXEL:<100}"))).status, 200);
    daemon.configure("workers = 3\n[limits]\nbody = 64\n[log]\nlevel = \"debug\"");
    daemon.signal(Signal::SIGHUP);

    let notice = daemon.wait_for_notice("RELOADING=1");
    assert!(notice.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "{notice}");
    daemon.wait_for_notice("READY=1");
    let reloaded = daemon.wait_for_event_with("reloaded", "by SIGHUP: ");
    for change in ["workers: 1 -> 3", "limits.body: \"16KiB\" -> 64", "log.level: \"info\" -> \"debug\""] {
        assert!(reloaded.text.contains(change), "{reloaded:?}");
    }
    assert_eq!(daemon.stats()["workers"], 3);
    let refused = eventually("the new limit holds", || {
        let answer = client.ask(post(&format!("{PIXEL:<100}")));
        (answer.status == 413).then_some(answer)
    });
    assert_eq!(refused.field("connection"), Some("close"));
    daemon.wait_for_event("requestRejected", &[("status", "413")]);
}

#[test]
fn reload_of_a_faulty_file_changes_nothing() {
    let daemon = Daemon::start("workers = 2");
    daemon.configure("workers = 3\n[limits]\nbody = \"lots\"");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_notice("RELOADING=1");
    daemon.wait_for_notice("READY=1");
    daemon.wait_for_event_with("reloadFailed", "pixeld.toml:3: limits.body: \"lots\"");
    assert_eq!(daemon.stats()["workers"], 2);
    assert_eq!(daemon.client().ask(post(PIXEL)).body, ECHO);
}

#[test]
fn reload_logs_keys_that_need_a_restart() {
    let daemon = Daemon::start("");
    daemon.configure("[log]\ntarget = \"journal\"");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_event_with("reloaded", "log.target");
}

#[test]
fn old_key_is_valid_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pixeld.toml");
    fs::write(&file, "limits.head = \"9KiB\"\n").unwrap();
    let output = captured(Command::new(PIXELD).arg("--check").arg("--config").arg(&file));
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stderr(&output).contains("warning: ") && stderr(&output).contains("limits.header"), "{output:?}");
}
