use std::{ffi::OsString, fs, path::PathBuf, time::Duration};

use super::common::CheckResult;
use crate::{
    doctor::{
        facts::{DaemonError, DaemonFacts, Facts},
        finding::{Finding, FindingState},
        host::{Host, Unavailable},
        nginx::{Group, Location, Nginx},
        units,
    },
    top::fixtures::sample,
};

const UNITS: &str = "\
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

/// A host whose files and programs cannot be read.
fn dark() -> Host {
    Host { root: PathBuf::from("/nowhere"), path: OsString::from("/nowhere"), limit: Duration::from_secs(5) }
}

/// A host without a problem, and without files.
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
    let mut stats = sample(0, 60, 2).stats;
    stats.process.pid = 124;
    stats.listeners.insert(0, "unix:/run/pixeld/http.sock".into());
    Facts {
        host: dark(),
        socket: None,
        daemon: Ok(DaemonFacts { stats, configured_workers: 2 }),
        main_pid: Some(124),
        units: Ok(units::parse(UNITS)),
        nginx: Ok(Nginx { groups: vec![group], user: "www-data".into(), ..Nginx::default() }),
    }
}

/// A host of which no fact is available.
pub fn invisible() -> Facts {
    let unavailable = || Unavailable("it is dark".into());
    Facts {
        host: dark(),
        socket: None,
        daemon: Err(DaemonError::NoPermission("you may not".into())),
        main_pid: None,
        units: Err(unavailable()),
        nginx: Err(unavailable()),
    }
}

/// Gives a host these files, by their paths without the first slash, for as long as the returned folder exists.
pub fn with_files(facts: &mut Facts, files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    facts.host.root = folder.path().into();
    folder
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
