//! Steps of the clock while the daemon runs. Debian's libfaketime changes what the daemon takes for the time of day;
//! this machine's clock stays as it is.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate::support::{Client, Daemon, PATIENCE, PIXEL, Setup, eventually, post, post_in_two, stderr};

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;

fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.exists()).expect("Debian's package faketime is installed")
}

/// A daemon whose clock [`step`] changes; the monotonic one stays as it is.
fn daemon(settings: &str) -> Daemon {
    let setup = Setup::new(settings);
    let file = setup.folder().join("clock");
    fs::write(&file, "+0").unwrap();
    setup
        .before(&format!("export LD_PRELOAD='{}'", library().display()))
        .environment("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .environment("FAKETIME_NO_CACHE", "1")
        .start()
}

/// Sets the daemon's clock to this machine's and so many seconds.
fn step(daemon: &Daemon, seconds: i64) {
    let new = daemon.folder().join("clock.new");
    fs::write(&new, format!("{seconds:+}")).unwrap();
    fs::rename(new, daemon.folder().join("clock")).unwrap();
}

/// By how many seconds a time is later than this machine's.
fn offset(time: SystemTime) -> i64 {
    let now = SystemTime::now();
    time.duration_since(now).map_or_else(
        |error| -i64::try_from(error.duration().as_secs()).unwrap(),
        |later| i64::try_from(later.as_secs()).unwrap(),
    )
}

fn is_near(offset: i64, seconds: i64) -> bool {
    (offset - seconds).abs() < PATIENCE.as_secs().cast_signed()
}

fn date_of(client: &mut Client) -> SystemTime {
    let answer = client.ask(post(PIXEL));
    assert_eq!(answer.status, 200);
    httpdate::parse_http_date(answer.field("date").unwrap()).unwrap()
}

#[test]
fn clock_steps_change_dates_and_nothing_else() {
    let daemon = daemon("workers = 1\n[timeouts]\nkeep-alive = \"1m\"");
    let [mut kept, mut waiting] = [daemon.client(), daemon.client()];
    let (begin, end) = post_in_two();
    waiting.send(&begin);
    date_of(&mut kept);
    let mut uptime = 0;
    for seconds in [HOUR, -HOUR, 30 * YEAR, -30 * YEAR, 0] {
        step(&daemon, seconds);
        eventually("the Date follows", || is_near(offset(date_of(&mut kept)), seconds).then_some(()));

        assert!(daemon.ctl(&["drain"]).status.success() && daemon.ctl(&["resume"]).status.success());
        let events = daemon.ctl_json(&["events"]);
        let event = events["events"].as_array().unwrap().last().unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(event["atUnixMs"].as_u64().unwrap());
        assert!(is_near(offset(at), seconds), "{event:#}");

        let stats = daemon.stats();
        let now = stats["process"]["uptimeMs"].as_u64().unwrap();
        assert!((uptime..60_000).contains(&now), "{stats:#}");
        uptime = now;
        for pointer in ["/rates/lastSecond", "/rates/lastTenSeconds", "/rates/lastMinute"] {
            let rate = stats.pointer(pointer).unwrap().as_f64().unwrap();
            assert!((0.0..1e6).contains(&rate), "{stats:#}");
        }
        assert!(stats["latency"]["maxUs"].as_u64() < Some(60_000_000), "{stats:#}");
        for command in [&["status"][..], &["workers"], &["stats"], &["stats", "--prometheus"], &["events"]] {
            let output = daemon.ctl(command);
            assert!(output.status.success(), "{command:?}: {}", stderr(&output));
        }
    }
    // Neither the connection nor the half of a request has timed out.
    waiting.send(end);
    assert_eq!(waiting.ask(end).status, 200);
    let stats = daemon.stats();
    assert_eq!(stats["connections"]["accepted"], 2, "{stats:#}");
    let log = daemon.log();
    assert!(!log.contains("panic") && log.matches("event=resumed").count() == 5, "{log}");
}

#[test]
fn clock_steps_leave_timeouts_alone() {
    let daemon = daemon("workers = 1\n[timeouts]\nkeep-alive = \"1s\"");
    for seconds in [-30 * YEAR, 30 * YEAR] {
        let mut client = daemon.client();
        date_of(&mut client);
        step(&daemon, seconds);
        client.expect_end_after_responses();
    }
}
