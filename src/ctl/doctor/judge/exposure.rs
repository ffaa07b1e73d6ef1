use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::{Verdict, daemon_of, drop_in, is_service, or_ok, reopen};
use crate::ctl::doctor::{
    daemon::Silence,
    finding::Finding,
    look::{
        Facts,
        units::{TCP, Unit},
    },
};

/// Networks from which nobody comes who is not let in otherwise.
const PRIVATE: [&str; 9] = [
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

/// Whether somebody may reach pixeld past nginx.
pub fn exposure(facts: &Facts) -> Verdict {
    let tcp = facts.units.as_ref().ok().and_then(|units| units.get(TCP)).filter(|unit| unit.is_active());
    let mut findings: Vec<_> = tcp.and_then(open_unit).into_iter().collect();
    if let Ok(daemon) = &facts.daemon
        && !is_service(facts, daemon)
    {
        let addresses = daemon.listeners.iter().filter_map(|listener| listener.parse().ok());
        findings.extend(addresses.filter(is_reachable).map(by_hand));
    }
    if findings.is_empty() && tcp.is_none() {
        // What no unit has opened, pixeld may have opened itself; what it cannot tell, a unit may hold.
        if matches!(facts.daemon, Err(Silence::Absent(_))) {
            facts.units.as_ref().map_err(Clone::clone)?;
        } else {
            daemon_of(facts)?;
        }
    }
    Ok(or_ok(findings, || match tcp {
        Some(_) => Finding::ok("only private addresses reach pixeld's TCP port").evidence(allowed(tcp)),
        None => Finding::ok("pixeld listens on no address that others reach"),
    }))
}

fn allowed(tcp: Option<&Unit>) -> String {
    tcp.map_or_else(String::new, |unit| unit.shown("IPAddressAllow"))
}

fn is_reachable(address: &SocketAddr) -> bool {
    address.ip().is_unspecified() || !is_private(&address.ip().to_canonical().into())
}

fn is_private(network: &IpNet) -> bool {
    PRIVATE.iter().filter_map(|text| text.parse().ok()).any(|private: IpNet| private.contains(network))
}

/// A network so large that nobody has named its hosts.
fn is_wide(network: &IpNet) -> bool {
    match network.addr() {
        IpAddr::V4(_) => network.prefix_len() < 24,
        IpAddr::V6(_) => network.prefix_len() < 48,
    }
}

fn open_unit(unit: &Unit) -> Option<Finding> {
    let parsed = unit.listens_on().filter_map(|address| address.parse::<SocketAddr>().ok());
    if !parsed.into_iter().any(|address| is_reachable(&address)) {
        return None;
    }
    let networks = |name| -> Vec<IpNet> {
        unit.value(name).split_whitespace().filter_map(|text| text.parse().ok()).collect()
    };
    let (allow, deny) = (networks("IPAddressAllow"), networks("IPAddressDeny"));
    let denies_rest = |text: &str| text.parse().is_ok_and(|all: IpNet| deny.contains(&all));
    let lets_all = !denies_rest("0.0.0.0/0") || !denies_rest("::/0");
    let public = allow.iter().find(|network| is_wide(network) && !is_private(network));
    if !lets_all && public.is_none() {
        return None;
    }
    let whom = public.map_or_else(|| "everybody".into(), ToString::to_string);
    let address = unit.listens_on().next().unwrap_or_default();
    let evidence = format!(
        "{}; IPAddressDeny={}; drop-ins: {}",
        unit.shown("IPAddressAllow"),
        unit.value("IPAddressDeny"),
        Some(unit.value("DropInPaths")).filter(|paths| !paths.is_empty()).unwrap_or("none")
    );
    // The first line forgets what was allowed before.
    let setting = "IPAddressDeny=any\\nIPAddressAllow=\\nIPAddressAllow=localhost 10.0.0.0/8 \
                   172.16.0.0/12 192.168.0.0/16 fc00::/7";
    let finding = Finding::problem(format!("{TCP} lets {whom} in at {address}, past nginx"));
    let finding = finding.evidence(evidence).mend_all(drop_in(TCP, "Socket", setting));
    Some(finding.mend(reopen(TCP)))
}

fn by_hand(address: SocketAddr) -> Finding {
    Finding::problem(format!("pixeld answers everybody at {address}, past nginx"))
        .evidence(format!("pixeldctl stats: listeners: {address}; no socket unit of systemd's guards it"))
        .mend(format!("# in the [listen] section of pixeld.toml: http = [\"127.0.0.1:{}\"]", address.port()))
        .mend("# and start pixeld again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::doctor::{
        finding::State,
        host::Unseen,
        judge::fixture::{change_units, healthy, only},
    };

    const ALLOW: &str = "IPAddressAllow=127.0.0.0/8 ::1/128 10.0.0.0/8 192.168.0.0/16 fc00::/7 172.16.0.0/12";

    #[test]
    fn a_unit_that_lets_the_world_in_is_a_problem() {
        let mut facts = healthy();
        only(exposure(&facts), State::Ok);
        for open in ["0.0.0.0/0 ::/0", "127.0.0.0/8 128.0.0.0/1", "2000::/3"] {
            change_units(&mut facts, ALLOW, &format!("IPAddressAllow={open}"));
            let finding = only(exposure(&facts), State::Problem);
            assert!(finding.evidence.contains(open) && finding.mend[1].contains("IPAddressDeny=any"));
        }
        change_units(&mut facts, "IPAddressDeny=0.0.0.0/0 ::/0", "IPAddressDeny=");
        assert!(only(exposure(&facts), State::Problem).summary.contains("everybody"));
    }

    #[test]
    fn a_host_that_somebody_named_is_not_the_world() {
        let mut facts = healthy();
        change_units(&mut facts, ALLOW, "IPAddressAllow=10.0.0.0/16 203.0.113.7/32");
        only(exposure(&facts), State::Ok);
    }

    #[test]
    fn an_open_unit_harms_nobody_while_it_is_inactive_or_on_a_private_address() {
        let mut facts = healthy();
        let open = "Listen=[::]:8000 (Stream)\nIPAddressAllow=0.0.0.0/0 ::/0\nOld";
        let shown = format!("Listen=[::]:8000 (Stream)\n{ALLOW}");
        change_units(&mut facts, &shown, &open.replace("[::]", "10.0.0.5"));
        only(exposure(&facts), State::Ok);
        change_units(&mut facts, &shown, open);
        only(exposure(&facts), State::Problem);
    }

    #[test]
    fn a_daemon_by_hand_on_all_addresses_is_a_problem() {
        let mut facts = healthy();
        let daemon = facts.daemon.as_mut().unwrap();
        daemon.pid = 9;
        daemon.listeners = vec!["127.0.0.1:8000".into(), "10.0.0.5:8000".into(), "unix:/x".into()];
        only(exposure(&facts), State::Ok);
        facts.daemon.as_mut().unwrap().listeners.push("0.0.0.0:8000".into());
        assert!(only(exposure(&facts), State::Problem).summary.contains("0.0.0.0:8000"));
    }

    #[test]
    fn a_daemon_that_may_not_be_asked_is_not_called_safe() {
        let mut facts = healthy();
        facts.daemon = Err(Silence::Forbidden("you may not".into()));
        only(exposure(&facts), State::Ok);
        change_units(&mut facts, "Id=pixeld-tcp.socket\nLoadState=loaded\nActiveState=active", "Id=x");
        assert!(exposure(&facts).is_err());
        facts.daemon = Err(Silence::Absent("nobody listens".into()));
        only(exposure(&facts), State::Ok);
        facts.units = Err(Unseen("no systemctl".into()));
        assert!(exposure(&facts).is_err());
    }
}
