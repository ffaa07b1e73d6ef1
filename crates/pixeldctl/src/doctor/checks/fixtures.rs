use std::{collections::HashMap, time::Duration};

use crate::{
    doctor::{
        daemon_facts::{DaemonError, DaemonFacts},
        finding::Finding,
        host_facts::Unavailable,
        probe::{
            CounterSample, Facts,
            access::SocketAccess,
            clock::{Clock, Instants},
            disk::LogDisk,
            net::{Overflows, Queue, TimeWait},
            nginx::{Group, Location, Nginx},
            process::{CpuTime, Cpus, FileLimit},
            units,
            upstream::ServerState,
        },
    },
    top::fixtures::sample,
};

use super::common::CheckResult;
pub use crate::doctor::finding::FindingState;

pub const UNITS: &str = "\
Id=pixeld.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n\
Id=pixeld.socket\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nTriggers=pixeld.service\n\
Backlog=4096\nListen=/run/pixeld/http.sock (Stream)\n\n\
Id=pixeld-tcp.socket\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\
Triggers=pixeld.service\nBacklog=4096\nListen=[::]:8000 (Stream)\n\
IPAddressAllow=127.0.0.0/8 ::1/128 10.0.0.0/8 192.168.0.0/16 fc00::/7 172.16.0.0/12\n\
IPAddressDeny=0.0.0.0/0 ::/0\nIPAccounting=yes\nIPIngressBytes=120\n\n\
Id=pixeld-control.socket\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\
Triggers=pixeld.service\n\n\
Id=pixeld-admin.socket\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\
Triggers=pixeld.service\n\n\
Id=pixeld-metrics.timer\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n\
Id=pixeld-metrics.service\nLoadState=loaded\nActiveState=inactive\nConditionResult=yes\n\
ConditionTimestampMonotonic=7\n";

/// A host without a problem.
pub fn healthy() -> Facts {
    let location =
        Location { name: "= /pixel".into(), version: Some("1.1".into()), connection: Some(String::new()) };
    let group = Group {
        name: "pixeld".into(),
        is_block: true,
        servers: vec!["unix:/run/pixeld/http.sock".into(), "10.77.0.20:8000".into()],
        backups: vec!["unix:/run/pixeld/http.sock".into(), "10.77.0.20:8000".into()],
        keepalive: Some(64),
        locations: vec![location],
    };
    let access = SocketAccess {
        path: "/run/pixeld/http.sock".into(),
        mode: 0o660,
        owner: "root".into(),
        group: "pixeld-proxy".into(),
        groups: vec!["www-data".into(), "pixeld-proxy".into()],
    };
    let mut stats = sample(0, 60, 2).stats;
    stats.process.pid = 124;
    stats.listeners.insert(0, "unix:/run/pixeld/http.sock".into());
    let queue = |address: &str| Queue { address: address.into(), waiting: 0, backlog: 4096 };
    let before = Instants::now();
    let second = Duration::from_secs(1);
    let sample = |total, instant| CounterSample {
        overflows: Ok(Overflows { overflows: 3, drops: 3 }),
        cpu: Ok(CpuTime { total, stolen: 10 }),
        logs: vec![("/var/log/nginx/pixeld/access.log", 5_000_000)],
        instant,
    };
    Facts {
        daemon: Ok(DaemonFacts { stats, configured_workers: 2 }),
        configuration_faults: Ok(Vec::new()),
        main_pid: Some(124),
        files: Ok(FileLimit { soft: 65_536, hard: 65_536 }),
        cpus: Ok(Cpus { allowed: 2, quota: None }),
        units: Ok(units::parse(UNITS)),
        queues: Ok(vec![queue("/run/pixeld/http.sock"), queue("*:8000")]),
        somaxconn: Ok(4096),
        unix_listeners: Ok(vec!["/run/pixeld/http.sock".into(), "/run/other.sock".into()]),
        time_wait: Ok(TimeWait {
            ports: 28_232,
            total: 5,
            outgoing: HashMap::new(),
            incoming: HashMap::new(),
        }),
        nginx: Ok(Nginx { groups: vec![group], user: "www-data".into(), ..Nginx::default() }),
        access: Ok(vec![access]),
        servers: vec![
            ("unix:/run/pixeld/http.sock".into(), ServerState::Serving),
            ("10.77.0.20:8000".into(), ServerState::Serving),
        ],
        suppressed: Ok(0),
        disk: Ok(LogDisk { free: 8 << 30, has_rotation: true }),
        clock: Ok(Clock { synchronized: true, can_synchronize: true }),
        samples: [
            sample(1000, before),
            sample(1200, Instants { wall: before.wall + second, steady: before.steady + second }),
        ],
    }
}

/// A host of which no fact is available.
pub fn invisible() -> Facts {
    let unavailable = || Unavailable("it is dark".into());
    let sample = CounterSample {
        overflows: Err(unavailable()),
        cpu: Err(unavailable()),
        logs: Vec::new(),
        instant: Instants::now(),
    };
    Facts {
        daemon: Err(DaemonError::NoPermission("you may not".into())),
        configuration_faults: Err(unavailable()),
        main_pid: None,
        files: Err(unavailable()),
        cpus: Err(unavailable()),
        units: Err(unavailable()),
        queues: Err(unavailable()),
        somaxconn: Err(unavailable()),
        unix_listeners: Err(unavailable()),
        time_wait: Err(unavailable()),
        nginx: Err(unavailable()),
        access: Err(unavailable()),
        servers: Vec::new(),
        suppressed: Err(unavailable()),
        disk: Err(unavailable()),
        clock: Err(unavailable()),
        samples: [sample.clone(), sample],
    }
}

/// Changes what systemctl shows of the healthy units; `from` must occur.
pub fn change_units(facts: &mut Facts, from: &str, to: &str) {
    assert!(UNITS.contains(from), "{from}");
    facts.units = Ok(units::parse(&UNITS.replacen(from, to, 1)));
}

/// Returns the only finding, which has this state, and evidence and a fix if it is wrong.
pub fn only(result: CheckResult, state: FindingState) -> Finding {
    let mut findings = result.expect("it could be looked at");
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let finding = findings.remove(0);
    assert_eq!(finding.state, state, "{finding:#?}");
    if finding.is_wrong() {
        assert!(!finding.evidence.is_empty() && !finding.fix.is_empty(), "{finding:#?}");
    }
    finding
}
