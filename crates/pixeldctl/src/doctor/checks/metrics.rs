use super::common::CheckResult;
use crate::doctor::{
    finding::Finding,
    host_facts::Unavailable,
    probe::{Facts, units},
};

/// Where the textfile collector of node_exporter looks, unless a drop-in of the unit names another folder.
const FOLDER: &str = "/var/lib/prometheus/node-exporter";

/// Whether figures for Prometheus are written, if that is switched on.
pub fn metrics(facts: &Facts) -> CheckResult {
    let known = facts.units.as_ref().map_err(Clone::clone)?;
    let [timer, service] = units::METRICS.map(|name| known.get(name).filter(|unit| unit.exists()));
    let (Some(timer), Some(service)) = (timer, service) else {
        return Err(Unavailable(format!("{} is not installed", units::METRICS[0])));
    };
    if !timer.is_active() {
        return Ok(vec![Finding::ok("no figures are written for Prometheus, as nobody asked for them")]);
    }
    if service.value("ConditionResult") != "no" || service.value("ConditionTimestampMonotonic") == "0" {
        return Ok(vec![Finding::ok("figures are written for Prometheus")]);
    }
    let finding = Finding::warning("no figures are written for Prometheus: their folder is missing")
        .evidence(format!("{}; ConditionPathIsDirectory={FOLDER}", service.shown("ConditionResult")))
        .fix("# node_exporter makes it (Debian: prometheus-node-exporter); for another folder, see")
        .fix("systemctl cat pixeld-metrics.service")
        .fix("# and without node_exporter:")
        .fix("sudo systemctl disable --now pixeld-metrics.timer");
    Ok(vec![finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{change_units, healthy, only},
        finding::FindingState,
    };

    #[test]
    fn timer_without_its_folder_is_reported() {
        let mut facts = healthy();
        only(metrics(&facts), FindingState::Ok);
        change_units(&mut facts, "ConditionResult=yes", "ConditionResult=no");
        only(metrics(&facts), FindingState::Warning);
        change_units(
            &mut facts,
            "ConditionResult=yes\nConditionTimestampMonotonic=7",
            "ConditionResult=no\nConditionTimestampMonotonic=0",
        );
        only(metrics(&facts), FindingState::Ok);
    }
}
