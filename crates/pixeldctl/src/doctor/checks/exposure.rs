use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::common::{CheckResult, daemon_of, drop_in, is_service, or_ok, reopen};
use crate::doctor::{
    facts::{DaemonError, Facts},
    finding::Finding,
    host::{Probe, Unavailable},
    units::{TCP, Unit},
};

/// Networks that the Internet does not route.
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

/// Whether public addresses can reach pixeld without nginx.
pub fn exposure(facts: &Facts) -> CheckResult {
    let tcp = facts.units.as_ref().ok().and_then(|units| units.get(TCP)).filter(|unit| unit.is_active());
    let mut findings: Vec<_> = tcp.and_then(open_unit).into_iter().collect();
    if let Ok(daemon) = &facts.daemon
        && !is_service(facts, daemon)
    {
        let addresses = daemon.stats.listeners.iter().filter_map(|listener| listener.parse().ok());
        findings.extend(addresses.filter(is_reachable).map(foreground));
    }
    if findings.is_empty() {
        let reloaded = |unit| facts.units.as_ref().is_ok_and(|units| units.reloaded_since_opening(unit));
        let filter = tcp.map(|unit| unit_without_filter(unit, reloaded(unit)));
        findings.extend(filter.transpose()?.flatten());
    }
    if findings.is_empty() && tcp.is_none() {
        // pixeld may have opened a port itself; if it cannot be asked, only the units are known.
        if matches!(facts.daemon, Err(DaemonError::NotRunning(_))) {
            facts.units.as_ref()?;
        } else {
            daemon_of(facts)?;
        }
    }
    Ok(or_ok(findings, || match tcp {
        Some(_) => Finding::ok("only private addresses reach pixeld's TCP port").evidence(allowed(tcp)),
        None => Finding::ok("pixeld listens on no public address"),
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

/// Whether a network is too large to be a list of known hosts.
fn is_wide(network: &IpNet) -> bool {
    match network.addr() {
        IpAddr::V4(_) => network.prefix_len() < 24,
        IpAddr::V6(_) => network.prefix_len() < 48,
    }
}

fn listens_publicly(unit: &Unit) -> bool {
    unit.listens_on().filter_map(|address| address.parse().ok()).any(|address| is_reachable(&address))
}

/// Reports a unit whose settings accept public addresses.
fn open_unit(unit: &Unit) -> Option<Finding> {
    if !listens_publicly(unit) {
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
    let whom = public.map_or_else(|| "any address".into(), ToString::to_string);
    let address = unit.listens_on().next().unwrap_or_default();
    let evidence = format!(
        "{}; IPAddressDeny={}; drop-ins: {}",
        unit.shown("IPAddressAllow"),
        unit.value("IPAddressDeny"),
        Some(unit.value("DropInPaths")).filter(|paths| !paths.is_empty()).unwrap_or("none")
    );
    // The empty assignment resets the list.
    let setting = "IPAddressDeny=any\\nIPAddressAllow=\\nIPAddressAllow=localhost 10.0.0.0/8 \
                   172.16.0.0/12 192.168.0.0/16 fc00::/7";
    let finding = Finding::problem(format!("{TCP} accepts {whom} at {address}, bypassing nginx"));
    let finding = finding.evidence(evidence).fix_all(drop_in(TCP, "Socket", setting));
    Some(finding.fix(reopen(TCP)))
}

/// Reports a unit whose filter is not in effect: without permission to load BPF programs, systemd sets up neither the
/// filter nor the counters of `IPAccounting=`.
fn unit_without_filter(unit: &Unit, reloaded: bool) -> Probe<Option<Finding>> {
    if !listens_publicly(unit) || unit.value("IPIngressBytes").parse::<u64>().is_ok() {
        return Ok(None);
    }
    if unit.value("IPAccounting") != "yes" {
        return Err(Unavailable(format!(
            "{TCP} lacks IPAccounting=yes, so its address filter cannot be seen"
        )));
    }
    if reloaded {
        // systemd 257 then loses the counters, and keeps the filter until the socket is opened again.
        let since = "systemd was reloaded after it opened pixeld-tcp.socket";
        return Err(Unavailable(format!("{since}; its address filter can be seen after: {}", reopen(TCP))));
    }
    let address = unit.listens_on().next().unwrap_or_default();
    let finding =
        Finding::problem(format!("{TCP} accepts any address at {address}: its filter is not in effect"));
    let finding = finding.evidence(format!(
        "{} with IPAccounting=yes: systemd loads no BPF programs on this host; {}",
        unit.shown("IPIngressBytes"),
        unit.shown("IPAddressDeny")
    ));
    let private = drop_in(TCP, "Socket", "ListenStream=\\nListenStream=10.0.0.20:8000");
    let finding = finding.fix("# allow BPF on this host or in this container, close the port by a firewall,");
    let finding = finding.fix("# or listen on the private address of this host, here 10.0.0.20:");
    Ok(Some(finding.fix_all(private).fix(reopen(TCP))))
}

fn foreground(address: SocketAddr) -> Finding {
    Finding::problem(format!("pixeld accepts any address at {address}, bypassing nginx"))
        .evidence(format!("pixeldctl stats: listeners: {address}; no socket unit filters it"))
        .fix(format!("# in the [listen] section of pixeld.toml: http = [\"127.0.0.1:{}\"]", address.port()))
        .fix("# then start pixeld again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{change_units, healthy, only},
        finding::FindingState,
    };

    const ALLOW: &str = "IPAddressAllow=127.0.0.0/8 ::1/128 10.0.0.0/8 192.168.0.0/16 fc00::/7 172.16.0.0/12";

    #[test]
    fn tcp_unit_without_an_effective_filter_is_a_problem() {
        const COUNTED: &str = "IPAccounting=yes\nIPIngressBytes=120";
        const TCP_LISTENS: &str = "Listen=[::]:8000 (Stream)\n";
        const IS_ACTIVE: &str = "Id=pixeld-tcp.socket\nLoadState=loaded\nActiveState=active";

        let mut facts = healthy();
        only(exposure(&facts), FindingState::Ok);
        let open = "IPAddressAllow=0.0.0.0/0 ::/0";
        for (from, to, expected) in [
            (ALLOW, open, Some("IPAddressAllow=0.0.0.0/0")),
            (ALLOW, "IPAddressAllow=127.0.0.0/8 128.0.0.0/1", Some("128.0.0.0/1")),
            (ALLOW, "IPAddressAllow=2000::/3", Some("2000::/3")),
            // A named host is not the world.
            (ALLOW, "IPAddressAllow=10.0.0.0/16 203.0.113.7/32", None),
            ("IPAddressDeny=0.0.0.0/0 ::/0", "IPAddressDeny=", Some("any address")),
            ("IPIngressBytes=120", "IPIngressBytes=0", None),
            ("IPIngressBytes=120", "IPIngressBytes=[no data]", Some("IPIngressBytes=[no data]")),
            // A private address needs no filter, and an inactive unit neither.
            (TCP_LISTENS, "Listen=10.0.0.5:8000 (Stream)\nIPIngressBytes=[no data]\n", None),
            (&format!("{TCP_LISTENS}{ALLOW}"), &format!("Listen=10.0.0.5:8000 (Stream)\n{open}"), None),
            (IS_ACTIVE, &IS_ACTIVE.replace("=active", "=inactive"), None),
        ] {
            change_units(&mut facts, from, to);
            let state = if expected.is_some() { FindingState::Problem } else { FindingState::Ok };
            let finding = only(exposure(&facts), state);
            let said = finding.summary + &finding.evidence;
            assert!(said.contains(expected.unwrap_or_default()), "{to}: {said}");
        }
        change_units(&mut facts, COUNTED, "IPAccounting=no\nIPIngressBytes=[no data]");
        assert!(exposure(&facts).is_err(), "a filter that is not counted is not called safe");
    }

    #[test]
    fn filter_from_before_a_reload_is_not_called_missing() {
        let mut facts = healthy();
        let no_data = "IPIngressBytes=[no data]";
        for (opened, is_known) in [("", true), ("8", true), ("6", false)] {
            let shown = format!("{no_data}\nInactiveExitTimestampMonotonic={opened}");
            change_units(&mut facts, "IPIngressBytes=120", &shown);
            facts.units.as_mut().unwrap().set_loaded(7);
            assert_eq!(exposure(&facts).is_ok(), is_known, "{opened}");
        }
    }

    #[test]
    fn foreground_daemon_on_all_addresses_is_a_problem() {
        let mut facts = healthy();
        let daemon = facts.daemon.as_mut().unwrap();
        daemon.stats.process.pid = 9;
        daemon.stats.listeners = vec!["127.0.0.1:8000".into(), "10.0.0.5:8000".into(), "unix:/x".into()];
        only(exposure(&facts), FindingState::Ok);
        facts.daemon.as_mut().unwrap().stats.listeners.push("0.0.0.0:8000".into());
        assert!(only(exposure(&facts), FindingState::Problem).summary.contains("0.0.0.0:8000"));
    }

    #[test]
    fn unqueryable_daemon_is_not_called_safe() {
        let mut facts = healthy();
        facts.daemon = Err(DaemonError::NoPermission("you may not".into()));
        only(exposure(&facts), FindingState::Ok);
        change_units(&mut facts, "Id=pixeld-tcp.socket\nLoadState=loaded\nActiveState=active", "Id=x");
        assert!(exposure(&facts).is_err());
        facts.daemon = Err(DaemonError::NotRunning("no process listens".into()));
        only(exposure(&facts), FindingState::Ok);
        facts.units = Err(Unavailable("no systemctl".into()));
        assert!(exposure(&facts).is_err());
    }
}
