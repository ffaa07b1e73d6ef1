//! What Prometheus gets: `pixeldctl stats --prometheus`, compared with what the daemon says itself.

mod file;
mod large;
mod monitoring;

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{
    self, Daemon, PIXEL, PIXELDCTL, captured, code, eventually, post, request, stderr, stdout,
};

/// The samples of a text, each as `name{labels}`.
fn samples(text: &str) -> BTreeMap<&str, &str> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(samples.insert(name, value).is_none(), "{name} stands there twice: {text}");
    }
    samples
}

fn text(output: &Output) -> String {
    assert_eq!((code(output), stderr(output).as_str()), (0, ""));
    stdout(output)
}

/// A daemon that has answered in several ways, and has one idle connection.
fn used_daemon() -> (Daemon, support::Client) {
    let daemon = Daemon::start("workers = 3");
    let mut requests = vec![post("{}"); 4];
    requests.extend(vec![request("GET", "/pixel", "", ""); 3]);
    requests.extend(vec![request("POST", "/nope", "", ""); 2]);
    for request in requests {
        daemon.unix_client().ask(request);
    }
    let mut client = daemon.unix_client();
    for _ in 0..30 {
        client.ask(post(PIXEL));
    }
    eventually("one idle connection is left, and all requests are timed", || {
        let stats = daemon.stats();
        let (connections, times) = (&stats["connections"], &stats["latency"]);
        (connections["open"] == 1 && connections["idle"] == 1 && times["count"] == 39).then_some(())
    });
    (daemon, client)
}

/// `text` goes through `promtool check metrics` without a word.
fn assert_promtool_agrees(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's package prometheus, can be started");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str(), stdout(&output).as_str()), (0, "", ""));
}

/// A program of the test's own.
fn script(folder: &Path, name: &str, lines: &str) -> PathBuf {
    let path = folder.join(name);
    // Written by another process: a file that this one had open for writing might still be so in a
    // child of another test, and could not be run.
    let mut write = Command::new("sh");
    write.args(["-c", "printf '#!/bin/sh\n%s\n' \"$1\" > \"$0\" && chmod 755 \"$0\""]).arg(&path).arg(lines);
    assert!(write.status().unwrap().success());
    path
}

#[test]
fn prometheus_output_has_every_figure() {
    let (daemon, _client) = used_daemon();
    let before = daemon.stats();
    let text = text(&daemon.ctl(&["stats", "--prometheus"]));
    let (after, workers) = (daemon.stats(), daemon.ctl_json(&["workers"]));
    let mut samples = samples(&text);
    let mut take = |name: &str| samples.remove(name).unwrap_or_else(|| panic!("{name} is missing: {text}"));
    let number = |value: &Value| value.as_f64().unwrap();

    for (pointer, name, unit) in [
        ("/connections/open", "pixeld_connections_open", 1.0),
        ("/connections/idle", "pixeld_connections_idle", 1.0),
        ("/connections/limit", "pixeld_connections_limit", 1.0),
        ("/connections/effectiveLimit", "pixeld_connections_effective_limit", 1.0),
        ("/connections/accepted", "pixeld_connections_accepted_total", 1.0),
        ("/connections/adopted", "pixeld_connections_adopted_total", 1.0),
        ("/connections/evicted", "pixeld_connections_evicted_total", 1.0),
        ("/connections/writeTimeouts", "pixeld_connections_write_timeouts_total", 1.0),
        ("/connections/acceptPauses", "pixeld_accept_pauses_total", 1.0),
        ("/bytesReceived", "pixeld_received_bytes_total", 1.0),
        ("/bytesSent", "pixeld_sent_bytes_total", 1.0),
        ("/logLinesDropped", "pixeld_log_lines_dropped_total", 1.0),
        ("/countersSinceUnixMs", "pixeld_counters_since_timestamp_seconds", 1e3),
        ("/configLoadedUnixMs", "pixeld_config_last_reload_success_timestamp_seconds", 1e3),
        ("/process/starts", "pixeld_starts_total", 1.0),
        ("/process/startedUnixMs", "pixeld_process_start_time_seconds", 1e3),
        ("/process/descriptorsAllowed", "pixeld_process_max_fds", 1.0),
        ("/process/descriptorsUsed", "pixeld_process_open_fds", 1.0),
        ("/process/cpuMs", "pixeld_process_cpu_seconds_total", 1e3),
        ("/workers", "pixeld_workers{state=\"serving\"}", 1.0),
        ("/latency/sumUs", "pixeld_request_duration_seconds_sum", 1e6),
        ("/latency/count", "pixeld_request_duration_seconds_count", 1.0),
        ("/requests/total", "pixeld_request_duration_seconds_bucket{le=\"+Inf\"}", 1.0),
    ] {
        let [low, high] = [&before, &after].map(|stats| number(stats.pointer(pointer).expect(pointer)));
        let value = parse(take(name)) * unit;
        // Asking costs CPU time and a descriptor for a moment; everything else is the same.
        let slack = if name.ends_with("open_fds") { 2.0 } else { 1e-3 };
        assert!((low - slack..=high + slack).contains(&value), "{name}: {value}, not {low} to {high}");
    }
    for (name, count) in before["requests"].as_object().unwrap().iter().filter(|(name, _)| *name != "total") {
        let outcome = snake(name);
        let name = format!("pixeld_requests_total{{outcome=\"{outcome}\"}}");
        assert_eq!(take(&name), count.to_string(), "{name}");
    }
    take_workers(&workers, &mut take);
    take_buckets(&before, &mut samples);
    let version = format!("pixeld_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        ("pixeld_up", "1"),
        (&version, "1"),
        ("pixeld_drained", "0"),
        ("pixeld_config_last_reload_successful", "1"),
        ("pixeld_requests_in_flight", "0"),
        ("pixeld_workers{state=\"leaving\"}", "0"),
        ("pixeld_workers_configured", "3"),
    ] {
        assert_eq!(samples.remove(name), Some(value), "{name}");
    }
    let memory: u64 = samples.remove("pixeld_process_resident_memory_bytes").unwrap().parse().unwrap();
    assert!((100_000..1_000_000_000).contains(&memory), "{memory}");
    assert_eq!(samples, BTreeMap::new(), "everything is compared with something");
}

fn take_workers<'a>(workers: &Value, take: &mut impl FnMut(&str) -> &'a str) {
    for worker in workers["workers"].as_array().unwrap() {
        let label = format!("{{worker=\"{}\"}}", worker["number"]);
        for (field, name) in [
            ("requests", "pixeld_worker_requests_total"),
            ("connections", "pixeld_worker_connections_open"),
            ("idleConnections", "pixeld_worker_connections_idle"),
            ("connectionsTaken", "pixeld_worker_connections_taken_total"),
        ] {
            assert_eq!(take(&format!("{name}{label}")), worker[field].to_string(), "{name}{label}");
        }
        let cpu = parse(take(&format!("pixeld_worker_cpu_seconds_total{label}")));
        assert!(cpu * 1e3 <= worker["cpuMs"].as_f64().unwrap(), "{cpu}: {worker}");
        let busy = parse(take(&format!("pixeld_worker_busy_ratio{label}")));
        assert!((0.0..=1.0).contains(&busy), "{busy}");
        let age = parse(take(&format!("pixeld_worker_heartbeat_age_seconds{label}")));
        assert!((0.0..=10.0).contains(&age), "{age}");
    }
}

/// The histogram has a bucket at each power of two, and what is counted there is exact.
fn take_buckets(stats: &Value, samples: &mut BTreeMap<&str, &str>) {
    for power in 0..=26 {
        let bound = 1_u64 << power;
        let buckets = stats["latency"]["buckets"].as_array().unwrap().iter();
        let below = buckets.filter(|bucket| bucket["belowUs"].as_u64().unwrap() <= bound);
        let count: u64 = below.map(|bucket| bucket["count"].as_u64().unwrap()).sum();
        let (label, value) = samples
            .iter()
            .find_map(|(name, value)| {
                let label = name.strip_prefix("pixeld_request_duration_seconds_bucket{le=\"")?;
                let seconds: f64 = label.strip_suffix("\"}")?.parse().ok()?;
                (format!("{:.0}", seconds * 1e6) == bound.to_string()).then_some((*name, *value))
            })
            .unwrap_or_else(|| panic!("no bucket of {bound} us: {samples:?}"));
        assert_eq!(value, count.to_string(), "{label}");
        samples.remove(label);
    }
}

fn parse(value: &str) -> f64 {
    value.parse().unwrap()
}

fn snake(name: &str) -> String {
    let word = |character: char| match character {
        'A'..='Z' => format!("_{}", character.to_ascii_lowercase()),
        other => other.to_string(),
    };
    name.chars().map(word).collect()
}

#[test]
fn promtool_accepts_the_output() {
    let (daemon, _client) = used_daemon();
    assert_promtool_agrees(&text(&daemon.ctl(&["stats", "--prometheus"])));
    assert_promtool_agrees(&text(&daemon.ctl(&["stats", "--prometheus", "-H", ".host"])));
}

#[test]
fn drained_daemon_is_up_and_drained() {
    let daemon = Daemon::start("workers = 1");
    assert_eq!(code(&daemon.ctl(&["drain"])), 0);
    daemon.unix_client().ask(post(PIXEL));
    let text = text(&daemon.ctl(&["stats", "--prometheus"]));
    let samples = samples(&text);
    for name in ["pixeld_up", "pixeld_drained", "pixeld_requests_total{outcome=\"unavailable\"}"] {
        assert_eq!(samples.get(name), Some(&"1"), "{name}");
    }
}

#[test]
fn failed_reload_is_shown_until_one_succeeds() {
    let daemon = Daemon::start("workers = 1");
    let reload = |settings: &str| {
        daemon.configure(settings);
        daemon.ctl(&["reload"])
    };
    let shown = || {
        let text = text(&daemon.ctl(&["stats", "--prometheus"]));
        let samples = samples(&text);
        let time = parse(samples["pixeld_config_last_reload_success_timestamp_seconds"]);
        (parse(samples["pixeld_config_last_reload_successful"]), time)
    };
    let (accepted, started) = shown();
    assert_eq!(accepted.to_string(), "1");
    assert_eq!(code(&reload("wokers = 1")), 78);
    assert_eq!(shown(), (0.0, started), "the previous configuration is in effect");
    assert_eq!(code(&daemon.ctl(&["reload", "--dry-run"])), 78);
    assert_eq!(code(&reload("workers = 1")), 0);
    let (accepted, reloaded) = shown();
    assert_eq!(accepted.to_string(), "1");
    assert!(reloaded > started, "{reloaded} {started}");
}

#[test]
fn incomplete_request_is_in_flight() {
    let daemon = Daemon::start("workers = 1");
    let mut client = daemon.unix_client();
    client.begin_request();
    let _idle = daemon.unix_client();
    eventually("one request is in flight, and one connection idle", || {
        let text = text(&daemon.ctl(&["stats", "--prometheus"]));
        let samples = samples(&text);
        let expected = ["pixeld_requests_in_flight", "pixeld_connections_idle"];
        (expected.map(|name| samples[name]) == ["1", "1"]).then_some(())
    });
}

#[test]
fn metrics_of_several_hosts_have_host_labels() {
    let daemon = Daemon::start("workers = 2");
    let ssh = script(
        daemon.folder(),
        "ssh",
        &format!("[ $3 != gone ] || exit 255\nshift 4\nexec '{PIXELDCTL}' \"$@\""),
    );
    let ask = |hosts: &[&str]| {
        let mut ctl = Command::new(PIXELDCTL);
        ctl.env_clear().env("PIXELDCTL_SSH", &ssh).env("PIXELDCTL_SOCKET", daemon.control_socket());
        ctl.args(["stats", "--prometheus"]).args(hosts.iter().flat_map(|host| ["-H", host]));
        captured(&mut ctl)
    };
    let both = text(&ask(&[".host", "admin@t2"]));
    assert_promtool_agrees(&both);
    let samples_of = |text: &str, host: &str| {
        let label = format!("host=\"{host}\"");
        samples(text).keys().filter(|name| name.contains(&label)).count()
    };
    assert_eq!(samples_of(&both, ".host"), samples_of(&both, "t2"));
    assert_eq!(samples_of(&both, ".host") * 2, samples(&both).len(), "{both}");

    let twice = text(&ask(&[".host", ".host"]));
    assert_eq!(samples(&twice).len(), samples_of(&both, ".host"), "a host named twice is shown once");

    let gone = ask(&[".host", "gone"]);
    assert_eq!(code(&gone), 69);
    assert!(stderr(&gone).contains("gone: "), "{}", stderr(&gone));
    let up: Vec<_> = samples(&stdout(&gone))
        .into_iter()
        .filter(|(name, _)| name.contains("_up{"))
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    assert_eq!(up, ["pixeld_up{host=\".host\"} 1", "pixeld_up{host=\"gone\"} 0"]);
}
