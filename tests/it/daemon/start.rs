//! What becomes of a start: the environment that it takes, and what is said if it fails.

use std::{
    net::TcpListener,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    thread::sleep,
    time::{Duration, Instant},
};

use nix::sys::{
    signal::Signal,
    socket::{Shutdown, shutdown},
};
use serde_json::{Value, json};

use crate::support::{Daemon, ECHO, PIXEL, Setup, eventually, post, stdout};

#[test]
fn listen_variables_for_another_process_are_ignored() {
    for script in [
        "export LISTEN_PID=1 LISTEN_FDS=1 LISTEN_FDNAMES=x",
        "export LISTEN_PID=1 LISTEN_FDS=2 LISTEN_FDNAMES=http",
        "export LISTEN_FDS=0 LISTEN_FDNAMES=",
        "export LISTEN_PID=$$ LISTEN_FDS=0 LISTEN_FDNAMES=",
        "export LISTEN_PID=$$ LISTEN_FDNAMES=x",
        "export LISTEN_FDNAMES=x:y",
    ] {
        let daemon = Setup::new("workers = 1").before(script).start();
        assert_eq!(daemon.unix_client().ask(post(PIXEL)).body, ECHO, "{script}");
    }
}

#[test]
fn contradictory_listen_variables_fail() {
    for script in ["LISTEN_FDS=x", "LISTEN_FDS=1 LISTEN_FDNAMES=a:b", "LISTEN_FDS=1"] {
        let script = format!("exec 3<&-; export LISTEN_PID=$$ {script}");
        let (code, log) = Setup::new("").before(&script).start_and_fail();
        assert_eq!(code, 71, "{script}: {log}");
    }
}

#[test]
fn sockets_passed_to_a_wrapper_are_explained() {
    let setup = Setup::new("").argument("--sockets=inherited").environment("LISTEN_PID", "1");
    let (code, log) = setup.environment("LISTEN_FDS", "3").start_and_fail();
    assert_eq!(code, 78, "{log}");
    assert!(log.contains("LISTEN_PID=1 is another process"), "{log}");
}

#[test]
fn start_with_too_few_descriptors_names_the_limit() {
    for limit in 8..20 {
        let setup = Setup::new("workers = 2").before(&format!("ulimit -n {limit}"));
        let (code, log) = setup.before("unset NOTIFY_SOCKET").start_and_fail();
        assert_eq!(code, 71, "{log}");
        assert!(log.contains(&format!("limit is {limit}")) && log.contains("LimitNOFILE="), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// A listening socket that is shut down fails each accept4(2) with EINVAL, as a filter of system calls or a
/// security module make it fail with other errors.
#[test]
fn failing_accept_is_reported_and_not_spun_on() {
    for is_tcp in [true, false] {
        let setup = Setup::new("workers = 2");
        let path = setup.folder().join("broken.sock");
        let (listener, address): (OwnedFd, _) = if is_tcp {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            (listener.into(), address)
        } else {
            (UnixListener::bind(&path).unwrap().into(), format!("unix:{}", path.display()))
        };
        let daemon = setup.socket("http", listener.try_clone().unwrap()).start();
        assert_eq!(daemon.stats()["acceptErrors"], json!([]));
        shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap();
        let expected = format!("{address}: Invalid argument (os error 22)");
        let before = eventually("acceptErrors", || {
            Some(daemon.stats()).filter(|stats| stats["acceptErrors"] == json!([expected]))
        });
        daemon.wait_for_event_with("acceptPaused", &expected);
        daemon.wait_for_notice_where("STATUS", |notice| notice.contains("STATUS=Accepts no connections at "));
        assert!(stdout(&daemon.ctl(&["status"])).contains("accepts no connections at "));
        assert!(stdout(&daemon.ctl(&["doctor"])).contains("accepts no connections at"));
        let after = eventually("half a second of the daemon", || {
            let stats = daemon.stats();
            let elapsed = |stats: &Value| stats["process"]["uptimeMs"].as_u64().unwrap();
            (elapsed(&stats) >= elapsed(&before) + 500).then_some(stats)
        });
        let cpu = |stats: &Value| stats["process"]["cpuMs"].as_u64().unwrap();
        assert!(cpu(&after) - cpu(&before) < 400, "{before} {after}");
        assert_eq!(after["connections"]["acceptPauses"], 1);
        assert_eq!(daemon.logged("acceptPaused").len(), 1, "{}", daemon.log());
    }
}

/// Where the service manager would start it again at once, without end.
#[test]
fn failed_start_waits_only_under_a_manager() {
    let begun = Instant::now();
    let (code, log) = Setup::new("").before("export LISTEN_PID=$$ LISTEN_FDS=x").start_and_fail();
    assert_eq!(code, 71, "{log}");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let script = "unset NOTIFY_SOCKET; export LISTEN_PID=$$ LISTEN_FDS=x";
    assert_eq!(Setup::new("").before(script).start_and_fail().0, 71);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn stray_signals_are_ignored() {
    let mut daemon = Daemon::start("workers = 1");
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGXFSZ] {
        daemon.signal(signal);
        assert_eq!(daemon.unix_client().ask(post(PIXEL)).body, ECHO, "{signal}");
    }
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn too_low_file_size_limit_is_an_error() {
    let (code, _) = Setup::new("").before("ulimit -f 0").start_and_fail();
    assert_eq!(code, 71);
}

/// A descriptor that is opened next gets the number of one that is closed: nothing is written into it.
#[test]
fn closed_standard_descriptors_are_not_reused() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let mut daemon = Setup::new("workers = 2").before(&format!("exec {closed}")).start();
        let mut client = daemon.unix_client();
        for _ in 0..10 {
            assert_eq!(client.ask(post(PIXEL)).body, ECHO, "{closed}");
        }
        // Each of these is a line of the log.
        assert!(daemon.ctl(&["workers", "3"]).status.success(), "{closed}");
        assert!(daemon.ctl(&["drain"]).status.success(), "{closed}");
        assert!(daemon.ctl(&["resume"]).status.success(), "{closed}");
        assert_eq!(client.ask(post(PIXEL)).body, ECHO, "{closed}");
        assert!(daemon.stop().success(), "{closed}");
    }
}

#[test]
fn freeze_of_the_process_is_not_blamed_on_a_worker() {
    let daemon = Setup::new("workers = 2").environment("WATCHDOG_USEC", "4000000").start();
    for pauses in 1..=2 {
        daemon.signal(Signal::SIGSTOP);
        // For as long as a worker may be stuck, and longer.
        sleep(Duration::from_millis(2600));
        daemon.signal(Signal::SIGCONT);
        eventually("the pause in the log", || (daemon.logged("processPaused").len() >= pauses).then_some(()));
        let uptime = || daemon.stats()["process"]["uptimeMs"].as_u64().unwrap();
        let before = uptime();
        eventually("it looks at its workers as usual", || (uptime() > before + 2400).then_some(()));
    }
    daemon.wait_for_notice("WATCHDOG=1");
    assert_eq!(daemon.logged("workerStalled").len(), 0, "{}", daemon.log());
}

#[test]
fn figures_without_proc_are_null() {
    let without_proc = "exec unshare --user --map-root-user --mount sh -ec '
        mount -t tmpfs tmpfs /proc
        exec \"$0\" \"$@\"' \"$0\" \"$@\"";
    let daemon = Setup::new("").before(without_proc).start();
    let process = daemon.stats()["process"].clone();
    assert_eq!([&process["memoryBytes"], &process["descriptorsUsed"]], [&Value::Null, &Value::Null]);
    assert!(process["descriptorsAllowed"].as_u64() > Some(0));
    let status = stdout(&daemon.ctl(&["status"]));
    assert!(status.contains("? memory, ? of "), "{status}");
    let prometheus = stdout(&daemon.ctl(&["stats", "--prometheus"]));
    assert!(!prometheus.contains("pixeld_process_open_fds"), "{prometheus}");
}
