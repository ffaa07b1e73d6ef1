use super::common::{CheckResult, is_service, or_ok};
use crate::doctor::{
    facts::Facts,
    finding::Finding,
    host::Unavailable,
    units::{ADMIN, NEEDED, SERVICE, TCP, Unit},
};

/// Whether pixeld's socket units listen, now and after the next boot.
pub fn sockets(facts: &Facts) -> CheckResult {
    let units = facts.units.as_ref()?;
    if facts.daemon.as_ref().is_ok_and(|daemon| !is_service(facts, daemon)) {
        return Err(Unavailable("this pixeld is not the system's pixeld.service".into()));
    }
    let needed = NEEDED.iter().filter_map(|name| units.get(name));
    let mut findings: Vec<_> = needed.filter_map(needed_socket).collect();
    let optional = [TCP, ADMIN].map(|name| units.get(name).filter(|unit| unit.exists()));
    findings.extend(optional.into_iter().flatten().filter_map(optional_socket));
    Ok(or_ok(findings, || {
        let [tcp, admin] = optional.map(|unit| unit.is_some_and(Unit::is_active));
        let evidence = format!("{TCP}: {}", if tcp { "enabled" } else { "not used" });
        Finding::ok("pixeld's socket units are enabled and listen").evidence(if admin {
            evidence
        } else {
            format!("{evidence}; {ADMIN}: disabled, so pixeldctl can change nothing")
        })
    }))
}

fn needed_socket(unit: &Unit) -> Option<Finding> {
    let name = unit.name();
    if !unit.exists() {
        let finding = Finding::problem(format!("{name} is not installed"));
        let finding = finding.evidence(unit.shown("LoadState"));
        return Some(
            // Debian's package opens the socket; other packages leave that to the operator.
            finding
                .fix("# it is part of the package pixeld: install that again, with apt or dnf,")
                .fix("# or in a checkout of pixeld: sudo make install")
                .fix("sudo systemctl daemon-reload")
                .fix(format!("sudo systemctl enable {name}"))
                .fix("sudo systemctl restart pixeld.service"),
        );
    }
    broken(unit).or_else(|| not_enabled(unit)).map(|finding| {
        if unit.value("UnitFileState").starts_with("masked") {
            finding.fix(format!("sudo systemctl unmask {name}"))
        } else {
            finding
        }
        // To enable the service enables the sockets that it needs; to restart it opens them.
        .fix("sudo systemctl enable pixeld.service")
        .fix("sudo systemctl restart pixeld.service")
    })
}

/// Reports a socket that does not listen, or not for pixeld.
fn broken(unit: &Unit) -> Option<Finding> {
    let name = unit.name();
    if !unit.is_active() {
        let state = unit.value("ActiveState");
        let finding = Finding::problem(format!("{name} does not listen: it is {state}"));
        let evidence = format!("{}, Result={}", unit.shown("ActiveState"), unit.value("Result"));
        return Some(finding.evidence(evidence));
    }
    let starts = unit.value("Triggers");
    if !starts.split_whitespace().any(|unit| unit == SERVICE) {
        let finding = Finding::problem(format!("{name} belongs to another service"));
        let evidence = format!("{}; drop-ins: {}", unit.shown("Triggers"), unit.value("DropInPaths"));
        return Some(finding.evidence(evidence).fix(format!("sudo systemctl revert {name}")));
    }
    None
}

fn not_enabled(unit: &Unit) -> Option<Finding> {
    let name = unit.name();
    let summary = format!("{name} is not enabled and may be missing after the next boot");
    (!unit.is_enabled()).then(|| Finding::warning(summary).evidence(unit.shown("UnitFileState")))
}

/// Reports a socket of which only one is true: active, enabled. The service runs without it.
fn optional_socket(unit: &Unit) -> Option<Finding> {
    let enable = || format!("sudo systemctl enable {}", unit.name());
    match (unit.is_active(), unit.is_enabled()) {
        (true, true) => broken(unit).map(|finding| finding.fix("sudo systemctl restart pixeld.service")),
        (true, false) => not_enabled(unit).map(|finding| finding.fix(enable())),
        (false, true) => broken(unit).map(|finding| finding.fix("sudo systemctl restart pixeld.service")),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{change_units, healthy, only},
        finding::FindingState,
    };

    const SOCKET: &str = "Id=pixeld.socket\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled";
    const TCP_SOCKET: &str =
        "Id=pixeld-tcp.socket\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled";

    #[test]
    fn socket_that_is_not_enabled_is_reported() {
        let mut facts = healthy();
        only(sockets(&facts), FindingState::Ok);
        change_units(&mut facts, SOCKET, &SOCKET.replace("enabled", "disabled"));
        let finding = only(sockets(&facts), FindingState::Warning);
        assert_eq!(finding.evidence, "pixeld.socket: UnitFileState=disabled");
        assert_eq!(finding.fix[0], "sudo systemctl enable pixeld.service");
    }

    #[test]
    fn socket_that_does_not_listen_is_a_problem() {
        let mut facts = healthy();
        let failed = SOCKET.replace("=active", "=failed") + "\nResult=trigger-limit-hit";
        change_units(&mut facts, SOCKET, &failed);
        assert!(only(sockets(&facts), FindingState::Problem).evidence.contains("trigger-limit-hit"));
        change_units(&mut facts, SOCKET, &SOCKET.replace("=loaded", "=not-found"));
        let missing = only(sockets(&facts), FindingState::Problem);
        assert!(missing.summary.contains("not installed"));
        assert!(missing.fix[0].contains("the package pixeld"), "{:?}", missing.fix);
        assert!(missing.fix.contains(&"sudo systemctl enable pixeld.socket".into()), "{:?}", missing.fix);
        let masked = SOCKET.replace("=active", "=inactive").replace("enabled", "masked");
        change_units(&mut facts, SOCKET, &masked);
        assert_eq!(
            only(sockets(&facts), FindingState::Problem).fix[0],
            "sudo systemctl unmask pixeld.socket"
        );
    }

    #[test]
    fn sockets_of_the_system_are_not_those_of_a_user() {
        let mut facts = healthy();
        change_units(&mut facts, SOCKET, &SOCKET.replace("=active", "=inactive"));
        only(sockets(&facts), FindingState::Problem);
        facts.main_pid = None;
        assert!(sockets(&facts).is_err());
    }

    #[test]
    fn socket_of_another_service_is_a_problem() {
        let mut facts = healthy();
        let other = format!("{SOCKET}\nTriggers=other.service\nOld");
        change_units(&mut facts, &format!("{SOCKET}\nTriggers"), &other);
        assert!(only(sockets(&facts), FindingState::Problem).evidence.contains("other.service"));
    }

    #[test]
    fn half_enabled_admin_socket_is_a_problem() {
        let socket = TCP_SOCKET.replace("-tcp", "-admin");
        let mut facts = healthy();
        let state = |active: &str, enabled: &str| {
            socket.replace("=active", &format!("={active}")).replace("enabled", enabled)
        };
        assert!(!only(sockets(&facts), FindingState::Ok).evidence.contains("admin"));
        for off in ["disabled", "masked"] {
            change_units(&mut facts, &socket, &state("inactive", off));
            let finding = only(sockets(&facts), FindingState::Ok);
            assert!(finding.evidence.contains("pixeld-admin.socket: disabled"), "{}", finding.evidence);
        }
        change_units(&mut facts, &socket, &state("active", "disabled"));
        let finding = only(sockets(&facts), FindingState::Warning);
        assert_eq!(finding.fix, ["sudo systemctl enable pixeld-admin.socket"]);
        change_units(&mut facts, &socket, &state("inactive", "enabled"));
        let finding = only(sockets(&facts), FindingState::Problem);
        assert_eq!(finding.fix, ["sudo systemctl restart pixeld.service"]);
    }

    #[test]
    fn half_enabled_tcp_socket_is_a_problem() {
        let mut facts = healthy();
        let state = |active: &str, enabled: &str| {
            TCP_SOCKET.replace("=active", &format!("={active}")).replace("enabled", enabled)
        };
        change_units(&mut facts, TCP_SOCKET, &state("inactive", "disabled"));
        assert!(only(sockets(&facts), FindingState::Ok).evidence.contains("not used"));
        change_units(&mut facts, TCP_SOCKET, &state("active", "disabled"));
        only(sockets(&facts), FindingState::Warning);
        change_units(&mut facts, TCP_SOCKET, &state("inactive", "enabled"));
        only(sockets(&facts), FindingState::Problem);
    }
}
