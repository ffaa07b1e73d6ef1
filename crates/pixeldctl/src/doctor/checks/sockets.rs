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

    /// A host with a socket unit in this state.
    fn with_unit(name: &str, active: &str, enabled: &str, more: &str) -> Facts {
        let shown = |active: &str, enabled: &str, more: &str| {
            format!("Id={name}\nLoadState=loaded\nActiveState={active}\nUnitFileState={enabled}\n{more}")
        };
        let mut facts = healthy();
        change_units(&mut facts, &shown("active", "enabled", ""), &shown(active, enabled, more));
        facts
    }

    #[test]
    fn needed_socket_that_does_not_listen_for_pixeld_is_reported() {
        let check = |active: &str, enabled: &str, more: &str, state| {
            only(sockets(&with_unit(NEEDED[0], active, enabled, more)), state)
        };
        let enable = "sudo systemctl enable pixeld.service";
        check("active", "enabled", "", FindingState::Ok);
        let disabled = check("active", "disabled", "", FindingState::Warning);
        assert_eq!(disabled.evidence, "pixeld.socket: UnitFileState=disabled");
        assert_eq!(disabled.fix[0], enable);
        let failed = check("failed", "enabled", "Result=trigger-limit-hit\n", FindingState::Problem);
        assert!(failed.evidence.contains("trigger-limit-hit"), "{failed:?}");
        let masked = check("inactive", "masked", "", FindingState::Problem);
        assert_eq!(masked.fix[..2], ["sudo systemctl unmask pixeld.socket", enable]);
        let foreign = check("active", "enabled", "Triggers=other.service\n", FindingState::Problem);
        assert!(foreign.evidence.contains("other.service"), "{foreign:?}");

        let mut facts = healthy();
        change_units(
            &mut facts,
            "Id=pixeld.socket\nLoadState=loaded",
            "Id=pixeld.socket\nLoadState=not-found",
        );
        let missing = only(sockets(&facts), FindingState::Problem);
        assert!(missing.summary.contains("not installed") && missing.fix[0].contains("the package pixeld"));
        assert!(missing.fix.contains(&"sudo systemctl enable pixeld.socket".into()), "{:?}", missing.fix);
        facts.main_pid = None;
        assert!(sockets(&facts).is_err(), "the sockets of the system are not those of a user");
    }

    #[test]
    fn half_enabled_optional_socket_is_reported() {
        for (name, unused) in [(TCP, "pixeld-tcp.socket: not used"), (ADMIN, "pixeld-admin.socket: disabled")]
        {
            let check = |active: &str, enabled: &str, state| {
                only(sockets(&with_unit(name, active, enabled, "")), state)
            };
            assert!(!check("active", "enabled", FindingState::Ok).evidence.contains(unused));
            for off in ["disabled", "masked"] {
                let finding = check("inactive", off, FindingState::Ok);
                assert!(finding.evidence.contains(unused), "{}", finding.evidence);
            }
            let finding = check("active", "disabled", FindingState::Warning);
            assert_eq!(finding.fix, [format!("sudo systemctl enable {name}")]);
            let finding = check("inactive", "enabled", FindingState::Problem);
            assert_eq!(finding.fix, ["sudo systemctl restart pixeld.service"]);
        }
    }
}
