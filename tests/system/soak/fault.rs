use std::{thread, time::Duration};

use super::random::Random;
use crate::harness::{Host, Site, deployment, wait_until};

/// Something that happens to one host or both, and is over when [`Fault::happen`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Restart,
    RestartBoth,
    Reload,
    BadReload,
    Workers,
    Drain,
    FreezeJournal,
    ReloadNginx,
    Kill,
    StopT2,
}

impl Fault {
    pub const ALL: &[Self] = &[
        Self::Restart,
        Self::RestartBoth,
        Self::Reload,
        Self::BadReload,
        Self::Workers,
        Self::Drain,
        Self::FreezeJournal,
        Self::ReloadNginx,
        Self::Kill,
        Self::StopT2,
    ];

    /// Those that lose no request, also if nginx repeats none.
    pub const WITHOUT_LOSS: &[Self] = match Self::ALL {
        [harmless @ .., Self::Kill, Self::StopT2] => harmless,
        _ => panic!("those that lose something stand last"),
    };

    pub const fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart of one host's pixeld",
            Self::RestartBoth => "restart of both at once",
            Self::Reload => "reload",
            Self::BadReload => "reload that is rejected",
            Self::Workers => "workers up and down",
            Self::Drain => "drain, and resume",
            Self::FreezeJournal => "journald frozen, pixeld restarted",
            Self::ReloadNginx => "reload of nginx",
            Self::Kill => "kill -9",
            Self::StopT2 => "t2 stopped, and started",
        }
    }

    pub fn happen(self, site: &Site, random: &mut Random) {
        let host = *random.one_of(&[&site.c5, &site.t2]);
        match self {
            Self::Restart => drop(host.run("systemctl restart pixeld")),
            Self::RestartBoth => thread::scope(|scope| {
                for host in [&site.c5, &site.t2] {
                    scope.spawn(|| host.run("systemctl restart pixeld"));
                }
            }),
            Self::Reload => {
                let (workers, seconds) = (random.between(1, 6), random.between(75, 120));
                let text = format!("workers = {workers}\n[timeouts]\nkeep-alive = \"{seconds}s\"\n");
                host.write(SETTINGS, text);
                host.run("systemctl reload pixeld");
            }
            Self::BadReload => {
                host.write(SETTINGS, "workers = 0\n");
                assert!(!host.try_run("systemctl reload pixeld").success(), "the reload is rejected");
                host.run(&format!("rm {SETTINGS}"));
            }
            Self::Workers => {
                host.run(&format!("pixeldctl workers {}", random.between(1, 8)));
                last_for(random);
                host.run("pixeldctl workers auto");
            }
            Self::Drain => {
                host.run("pixeldctl drain");
                last_for(random);
                host.run("pixeldctl resume");
                wait_until_used(host);
            }
            Self::FreezeJournal => {
                host.run(&format!("kill -STOP {JOURNALD}"));
                host.run("systemctl restart pixeld");
                last_for(random);
                host.run(&format!("kill -CONT {JOURNALD}"));
            }
            Self::ReloadNginx => drop(site.c5.run("systemctl reload nginx")),
            Self::Kill => {
                host.run("systemctl kill --signal=KILL --kill-whom=main pixeld");
                wait_until_used(host);
            }
            Self::StopT2 => {
                let stop = "systemctl stop pixeld.socket";
                site.t2.run(&format!("{stop} && ! systemctl is-active pixeld"));
                last_for(random);
                site.t2.run("systemctl start pixeld");
                wait_until_used(&site.t2);
            }
        }
    }
}

const SETTINGS: &str = "/etc/pixeld/pixeld.toml.d/soak.toml";
const JOURNALD: &str = "$(systemctl show -P MainPID systemd-journald)";

fn last_for(random: &mut Random) {
    thread::sleep(Duration::from_millis(random.between(200, 2500)));
}

/// nginx leaves a host alone for a second when it did not answer or was drained. Who takes the other
/// one down meanwhile leaves no host to respond.
fn wait_until_used(host: &Host) {
    let before = deployment::stats(host).ok;
    wait_until("nginx uses it again", || deployment::stats(host).ok > before + 20);
}
