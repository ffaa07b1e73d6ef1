//! Counts that are larger than what floating-point numbers, or 64 bits, hold exactly.

use std::{fs::File, os::unix::fs::FileExt};

use super::{samples, text};
use crate::support::{Daemon, PIXEL, post};

/// Where the counters of each worker lie in the shared memory; a unit test of `stats` has the same numbers.
const WORKERS: u64 = 256;
const WORKER: u64 = 3328;
/// The first count of a worker that is none of requests: bytes received.
const BYTES_RECEIVED: u64 = 13 * 8;
const LATENCY: u64 = 128;

/// A daemon with two workers, each of which has these counts of accepted pixels, bytes and latencies.
fn daemon_with(count: u64) -> Daemon {
    let daemon = Daemon::start("workers = 2");
    let counters = File::from(daemon.stored("counters"));
    for worker in [WORKERS, WORKERS + WORKER] {
        for place in [0, BYTES_RECEIVED, LATENCY] {
            counters.write_all_at(&count.to_ne_bytes(), worker + place).unwrap();
        }
    }
    daemon
}

#[test]
fn counts_above_2_to_the_53_are_printed_exactly() {
    let daemon = daemon_with((1 << 52) + 1);
    assert_eq!(daemon.unix_client().ask(post(PIXEL)).status, 200);
    let expected = (1_u64 << 53) + 3;
    let stats = daemon.stats();
    assert_eq!((&stats["requests"]["ok"], &stats["requests"]["total"]), (&expected.into(), &expected.into()));
    assert!(text(&daemon.ctl(&["stats"])).contains(&format!("{expected} ok")));
    let text = text(&daemon.ctl(&["stats", "--prometheus"]));
    assert_eq!(samples(&text)["pixeld_requests_total{outcome=\"ok\"}"], expected.to_string());
}

#[test]
fn sums_beyond_64_bits_stay_at_the_largest_number() {
    let daemon = daemon_with(u64::MAX - 7);
    let mut client = daemon.unix_client();
    for _ in 0..3 {
        assert_eq!(client.ask(post(PIXEL)).status, 200);
    }
    let stats = daemon.stats();
    for pointer in ["/requests/ok", "/requests/total", "/bytesReceived", "/latency/count"] {
        assert_eq!(stats.pointer(pointer), Some(&u64::MAX.into()), "{pointer}: {stats:#}");
    }
    let text = text(&daemon.ctl(&["stats", "--prometheus"]));
    let samples = samples(&text);
    let counts = samples.iter().filter(|(name, _)| name.contains("_bucket{"));
    assert!(
        counts.clone().count() > 0 && counts.into_iter().all(|(_, count)| *count == u64::MAX.to_string())
    );
    for command in ["status", "workers"] {
        assert!(daemon.ctl(&[command]).status.success(), "{command}");
    }
}
