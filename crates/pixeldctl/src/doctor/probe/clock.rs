use std::time::{Duration, Instant, SystemTime};

use crate::doctor::host_facts::{Host, Probe, Unavailable};

/// The state of the clock according to timedated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// A time service synchronizes the clock.
    pub synchronized: bool,
    /// A time service is installed.
    pub can_synchronize: bool,
}

/// One moment on the wall clock and on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Instants {
    pub wall: SystemTime,
    pub steady: Instant,
}

impl Instants {
    pub fn now() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    /// Returns how far the wall clock was set forward or back since `earlier`.
    pub fn jump_since(self, earlier: Self) -> Duration {
        let (was, is) = (earlier.wall + (self.steady - earlier.steady), self.wall);
        is.duration_since(was).unwrap_or_else(|error| error.duration())
    }
}

pub async fn probe(host: &Host) -> Probe<Clock> {
    if let Ok(container) = host.read("/run/systemd/container") {
        let container = container.trim();
        return Err(Unavailable(format!("the host of this {container} container sets the clock")));
    }
    let shown = host.ask("timedatectl", &["show", "-p", "NTPSynchronized", "-p", "CanNTP"]).await?;
    parse(&shown)
        .ok_or_else(|| Unavailable("timedatectl does not report whether the clock is synchronized".into()))
}

fn parse(shown: &str) -> Option<Clock> {
    let value = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name));
    Some(Clock {
        synchronized: value("NTPSynchronized=")? == "yes",
        can_synchronize: value("CanNTP=") == Some("yes"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timedatectl_output_is_parsed() {
        let clock = parse("NTPSynchronized=no\nCanNTP=yes\n").unwrap();
        assert_eq!(clock, Clock { synchronized: false, can_synchronize: true });
        assert_eq!(parse("Timezone=Etc/UTC\n"), None);
    }

    #[test]
    fn only_a_clock_that_was_set_has_jumped() {
        let before = Instants::now();
        let second = Duration::from_secs(1);
        let later = Instants { wall: before.wall + second, steady: before.steady + second };
        assert_eq!(later.jump_since(before), Duration::ZERO);
        let back = Instants { wall: before.wall - second, steady: before.steady + second };
        assert_eq!(back.jump_since(before), 2 * second);
    }
}
