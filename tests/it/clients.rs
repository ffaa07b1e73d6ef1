//! HTTP clients and proxies that people use, each against a daemon on loopback. `make test-all` installs them
//! and runs these; `cargo test` does not.

use std::{
    env,
    fs::{self, OpenOptions},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::Signal,
};

use crate::support::{Daemon, ECHO, PIXEL, Proxy, Setup, eventually, post, run, stdout};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clients");
const REQUIREMENTS: &str = include_str!("clients/requirements.txt");

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    // Each has its own bounds in time; to start Java may take long on a busy machine.
    let output = command.stdin(Stdio::null()).output().expect("the client is installed");
    assert!(output.status.success(), "{command:?}: {output:?}");
    stdout(&output)
}

/// Runs a client with the daemon's address, and sees that as many connections are opened as it needs.
#[track_caller]
fn served(client: &mut Command) -> u64 {
    let daemon = Daemon::start("");
    succeeds(client.arg(daemon.address().to_string()));
    daemon.stats()["connections"]["accepted"].as_u64().unwrap()
}

#[test]
#[ignore = "needs PyPI: make test-all"]
fn python_clients_are_served() {
    served(Command::new(python().join("bin/python")).arg(format!("{FOLDER}/clients.py")));
}

#[test]
#[ignore = "needs Node: make test-all"]
fn node_clients_keep_connections() {
    // Nine requests; Node itself opens another connection now and then.
    assert!(served(Command::new("node").arg(format!("{FOLDER}/clients.mjs"))) < 7);
}

#[test]
#[ignore = "needs a JDK: make test-all"]
fn java_clients_keep_connections() {
    assert_eq!(served(Command::new("java").arg(format!("{FOLDER}/Clients.java"))), 3);
}

/// One connection for plain bodies and one for those that wait for 100 Continue; after a body of unknown length,
/// the connection may close.
#[test]
#[ignore = "needs Go: make test-all"]
fn go_clients_keep_connections() {
    let cache = tempfile::tempdir().unwrap();
    let go = &mut Command::new("go");
    go.env("GOCACHE", cache.path()).args(["run", &format!("{FOLDER}/clients.go")]);
    assert!(served(go) <= 5);
}

#[test]
#[ignore = "needs curl and wget: make test-all"]
fn curl_and_wget_are_served() {
    let daemon = Daemon::start("");
    let url = format!("http://{}/pixel", daemon.address());
    let json = "content-type: application/json";
    for options in [&[][..], &["-H", "expect: 100-continue"], &["--http1.0"], &["--http2"]] {
        let curl = &mut Command::new("curl");
        curl.args(["--silent", "--fail", "-H", json, "-d", PIXEL]).args(options);
        assert_eq!(succeeds(curl.args([&url, &url])), ECHO.repeat(2), "{options:?}");
    }
    let wget = &mut Command::new("wget");
    wget.args(["--quiet", "--output-document=-", "--header", json, "--post-data", PIXEL]);
    assert_eq!(succeeds(wget.arg(&url)), ECHO);
}

#[test]
#[ignore = "needs ab: make test-all"]
fn ab_is_served_with_and_without_keep_alive() {
    let daemon = Daemon::start("");
    let body = daemon.folder().join("body");
    fs::write(&body, PIXEL).unwrap();
    for keep in [&[][..], &["-k"]] {
        let ab = &mut Command::new("ab");
        ab.args(["-q", "-n", "2000", "-c", "20", "-T", "application/json", "-p"]).arg(&body).args(keep);
        let report = succeeds(ab.arg(format!("http://{}/pixel", daemon.address())));
        let has = |line: &str| report.lines().any(|found| found.split_whitespace().eq(line.split(' ')));
        assert!(has("Complete requests: 2000") && has("Failed requests: 0"), "{report}");
        assert!(!report.contains("Non-2xx"), "{report}");
        assert!(keep.is_empty() || has("Keep-Alive requests: 2000"), "{report}");
    }
}

/// Both daemons serve. If the proxy repeats a POST, one is drained, serves again, and is killed. No client of the
/// proxy gets anything but a response of 200.
fn served_behind(repeats: bool, start: impl FnOnce([SocketAddr; 2]) -> Proxy) {
    let daemons = [(); 2].map(|()| Setup::new("").start());
    let proxy = start([daemons[0].address(), daemons[1].address()]);
    let mut client = proxy.client();
    let mut all_succeed = |when: &str| {
        for _ in 0..200 {
            let answer = client.ask(post(PIXEL));
            assert_eq!((answer.status, answer.body.as_str()), (200, ECHO), "{when}");
        }
    };
    all_succeed("both serve");
    assert!(daemons.iter().all(|daemon| daemon.stats()["requests"]["ok"].as_u64() > Some(50)));
    if !repeats {
        return;
    }
    assert!(daemons[0].ctl(&["drain"]).status.success());
    all_succeed("one is drained");
    assert!(daemons[0].ctl(&["resume"]).status.success());
    let before = daemons[0].stats()["requests"]["ok"].as_u64();
    eventually("it is used again", || {
        all_succeed("one is back");
        (daemons[0].stats()["requests"]["ok"].as_u64() > before.map(|ok| ok + 20)).then_some(())
    });
    daemons[0].signal(Signal::SIGKILL);
    all_succeed("one is killed");
}

#[test]
#[ignore = "needs HAProxy: make test-all"]
fn host_lost_behind_haproxy_costs_no_request() {
    served_behind(true, |[first, second]| {
        Proxy::start("haproxy", &["-db", "-f"], |address, _| {
            format!(
                "defaults\n mode http\n timeout connect 1s\n timeout client 10s\n timeout server 5s\n \
                 option http-buffer-request\n option redispatch 1\n retries 3\n \
                 retry-on all-retryable-errors\n\
                 frontend site\n bind {address}\n default_backend pixeld\n\
                 backend pixeld\n balance roundrobin\n option httpchk\n \
                 http-check send meth POST uri /pixel ver HTTP/1.1 hdr host check \
                 hdr content-type application/json body '{PIXEL}'\n http-check expect status 200\n \
                 default-server check inter 200ms fall 2 rise 1\n \
                 server first {first}\n server second {second}\n"
            )
        })
    });
}

#[test]
#[ignore = "needs Caddy: make test-all"]
fn caddy_as_proxy_is_served() {
    served_behind(false, |[first, second]| {
        Proxy::start("caddy", &["run", "--adapter", "caddyfile", "--config"], |address, _| {
            format!(
                "{{\n admin off\n auto_https off\n}}\n\
                 http://:{} {{\n bind 127.0.0.1\n reverse_proxy {first} {second} {{\n  lb_policy round_robin\n }}\n}}\n",
                address.port()
            )
        })
    });
}

/// A virtual environment with the clients, made once and kept.
fn python() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map_or_else(
        || PathBuf::from(env::var_os("HOME").expect("HOME or XDG_CACHE_HOME is set")).join(".cache"),
        PathBuf::from,
    );
    let cache = cache.join("pixeld");
    fs::create_dir_all(&cache).unwrap();
    let lock = OpenOptions::new().create(true).append(true).open(cache.join("clients.lock")).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
    let environment = cache.join("clients");
    let complete = environment.join("complete");
    if fs::read_to_string(&complete).ok().as_deref() != Some(REQUIREMENTS) {
        make_environment(&environment);
        fs::write(complete, REQUIREMENTS).unwrap();
    }
    environment
}

fn make_environment(environment: &Path) {
    let venv = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment));
    assert!(venv.status.success(), "python3 -m venv");
    // May take longer than what `run` waits for.
    let pip = Command::new(environment.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(format!("{FOLDER}/requirements.txt"))
        .status();
    assert!(pip.expect("pip can be started").success(), "pip install");
}
