//! What becomes of a start: the environment that it takes, and what is said if it fails.

use std::time::{Duration, Instant};

use crate::support::{ECHO, PIXEL, Setup, post};

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
fn listen_variables_for_this_process_that_contradict_fail() {
    for script in ["LISTEN_FDS=x", "LISTEN_FDS=1 LISTEN_FDNAMES=a:b", "LISTEN_FDS=1"] {
        let script = format!("exec 3<&-; export LISTEN_PID=$$ {script}");
        let (code, log) = Setup::new("").before(&script).start_in_vain();
        assert_eq!(code, 71, "{script}: {log}");
    }
}

#[test]
fn missing_sockets_of_a_wrapper_name_the_process_they_are_for() {
    let setup = Setup::new("").argument("--sockets=inherited").environment("LISTEN_PID", "1");
    let (code, log) = setup.environment("LISTEN_FDS", "3").start_in_vain();
    assert_eq!(code, 78, "{log}");
    assert!(log.contains("LISTEN_PID=1 is another process"), "{log}");
}

#[test]
fn start_with_too_few_descriptors_names_the_limit() {
    for limit in 8..20 {
        let setup = Setup::new("workers = 2").before(&format!("ulimit -n {limit}"));
        let (code, log) = setup.before("unset NOTIFY_SOCKET").start_in_vain();
        assert_eq!(code, 71, "{log}");
        assert!(log.contains(&format!("limit is {limit}")) && log.contains("LimitNOFILE="), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// Where the service manager would start it again at once, without end.
#[test]
fn failed_start_takes_a_second_under_a_service_manager_only() {
    let begun = Instant::now();
    let (code, log) = Setup::new("").before("export LISTEN_PID=$$ LISTEN_FDS=x").start_in_vain();
    assert_eq!(code, 71, "{log}");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let script = "unset NOTIFY_SOCKET; export LISTEN_PID=$$ LISTEN_FDS=x";
    assert_eq!(Setup::new("").before(script).start_in_vain().0, 71);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
