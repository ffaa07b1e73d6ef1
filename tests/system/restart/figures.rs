//! What a restart costs, in figures:
//! `cargo test --release --test system figures -- --ignored --nocapture`, after `make build`.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{RELEASES, full_load, many_clients};
use crate::harness::{Host, Site, deployment};

/// Of each host.
const RESTARTS: u32 = 50;

#[test]
#[ignore = "measures; see above"]
fn figures() {
    for release in RELEASES {
        for connections in [0, 1_000] {
            let site = deployment::start_on(release);
            println!("\n{release:?}, {connections} idle connections to t2:");
            measure(&site, connections);
        }
    }
}

fn measure(site: &Site, count: usize) {
    deployment::retry_only(&site.c5, "off");
    for host in [&site.c5, &site.t2] {
        host.write("/etc/pixeld/pixeld.toml.d/patient.toml", "[timeouts]\nkeep-alive = \"10m\"\n");
        host.run("systemctl reload pixeld");
    }
    let mut connections = many_clients::open(site, count);
    let load = full_load(site);
    let mut restarts = Vec::new();
    for i in 0..2 * RESTARTS {
        let host = [&site.c5, &site.t2][i as usize % 2];
        let begun = Instant::now();
        host.run("systemctl restart pixeld");
        restarts.push(begun.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    println!("  under load: {}", load.stop());
    many_clients::ask_all(connections.iter_mut());
    println!("  all {count} idle connections answer");
    tell("systemctl restart, as the shell sees it", restarts);
    for (host, name) in [(&site.c5, "c5"), (&site.t2, "t2")] {
        tell(&format!("{name}: from its start to its READY, as pixeld says"), ready_after(host));
    }
}

/// What the journal says of each start.
fn ready_after(host: &Host) -> Vec<Duration> {
    let journal = host.run("journalctl -u pixeld -o cat | grep -o 'Ready after [0-9.]* ms'").stdout;
    let number = |line: &str| line.split(' ').nth(2)?.parse::<f64>().ok();
    journal.lines().filter_map(number).map(|ms| Duration::from_secs_f64(ms / 1_000.0)).collect()
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let Some(slowest) = times.last() else { panic!("{what}: nothing to tell") };
    println!("  {what}: median {:.1?}, slowest {slowest:.1?} of {}", times[times.len() / 2], times.len());
}
