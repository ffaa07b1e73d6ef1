//! A program, not a test: `make soak` runs it. Two hosts are under constant load, and something happens to
//! them every few seconds, for MINUTES. docs/soak.md has the last output.

mod fault;
#[path = "../harness/mod.rs"]
mod harness;
mod random;
mod score;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use fault::Fault;
use harness::{C5_OUTSIDE, Load, LoadHandle, PIXEL, Report, Request, Site, deployment};
use random::Random;
use score::Score;

const NO_PIXEL: &str = r#"{"x":1,"y":2,"channel":"R","value":256}"#;

/// How nginx is configured, and the faults that may then happen without a loss.
struct Phase {
    title: &'static str,
    retries: Option<&'static str>,
    faults: &'static [Fault],
}

const PHASES: [Phase; 2] = [
    // Only a host that says that it is drained is to be left for the other one. Nothing else is tried
    // again, so whatever a restart lost would show.
    Phase {
        title: "Retries off, except for the 503 of a drained host",
        retries: Some("http_503 non_idempotent"),
        faults: Fault::WITHOUT_LOSS,
    },
    // A process that is killed takes the requests with it that it has; nginx repeats them.
    Phase { title: "nginx as shipped", retries: None, faults: Fault::ALL },
];

fn main() {
    let minutes = number("MINUTES").unwrap_or(30);
    let seed = number("SEED").unwrap_or_else(Random::any_seed);
    println!(
        "{minutes} minutes, seed {seed}: `make soak MINUTES={minutes} SEED={seed}` does the same again."
    );
    let mut random = Random::new(seed);
    let site = deployment::start();
    let each = Duration::from_secs(minutes * 60) / u32::try_from(PHASES.len()).expect("few phases");
    let scores = PHASES.map(|phase| run(&phase, each, &site, &mut random));
    for score in &scores {
        println!("\n{score}");
    }
    for score in &scores {
        score.assert_nothing_lost();
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: give a whole number")))
}

fn run(phase: &Phase, duration: Duration, site: &Site, random: &mut Random) -> Score {
    match phase.retries {
        Some(cases) => deployment::retry_only(&site.c5, cases),
        None => deployment::retry_as_shipped(&site.c5),
    }
    let counted_before = counted(site);
    let loads = [load(site, PIXEL, 16, 400), load(site, NO_PIXEL, 2, 20)];
    loads[0].wait_for_answers(100);
    let mut score = Score::new(phase.title);
    let begun = Instant::now();
    let mut fault = None;
    while begun.elapsed() < duration {
        thread::sleep(Duration::from_millis(random.between(500, 2500)));
        score.add(fault, take(&loads));
        let next = *random.one_of(phase.faults);
        next.happen(site, random);
        fault = Some(next);
    }
    loads[0].wait_for_answers(100);
    score.add(fault, take(&loads));
    let last = loads.map(LoadHandle::stop);
    score.add(None, last);
    if !phase.faults.contains(&Fault::StopT2) {
        score.compare_with_counters(counted(site) - counted_before);
    }
    score
}

fn load(site: &Site, body: &str, connections: u32, rate: u32) -> LoadHandle {
    site.client.load(Load {
        request: Request::pixel(body),
        connections,
        rate,
        limit: u64::MAX,
        duration: Duration::MAX,
        comes_again: true,
        ..Load::on(C5_OUTSIDE)
    })
}

fn take(loads: &[LoadHandle; 2]) -> [Report; 2] {
    [loads[0].take_report(), loads[1].take_report()]
}

/// Pixels that both hosts say they have accepted.
fn counted(site: &Site) -> u64 {
    [&site.c5, &site.t2].map(|host| deployment::stats(host).ok).iter().sum()
}
