use super::common::CheckResult;
use crate::doctor::{facts::Facts, finding::Finding, host::Unavailable, units};

/// Where the textfile collector of node_exporter looks, unless a drop-in of the unit names another folder.
const FOLDER: &str = "/var/lib/prometheus/node-exporter";

/// Whether metrics for Prometheus are written, if their timer is active.
pub fn metrics(facts: &Facts) -> CheckResult {
    let known = facts.units.as_ref()?;
    let [timer, service] = units::METRICS.map(|name| known.get(name).filter(|unit| unit.exists()));
    let (Some(timer), Some(service)) = (timer, service) else {
        return Err(Unavailable(format!("{} is not installed", units::METRICS[0])));
    };
    if !timer.is_active() {
        return Ok(vec![Finding::ok("the metrics timer is not active")]);
    }
    if service.value("ConditionResult") != "no" || service.value("ConditionTimestampMonotonic") == "0" {
        return Ok(vec![Finding::ok("metrics for Prometheus are written")]);
    }
    let finding = Finding::warning("metrics for Prometheus are not written: their directory is missing")
        .evidence(format!("{}; ConditionPathIsDirectory={FOLDER}", service.shown("ConditionResult")))
        .fix("# node_exporter creates it (Debian: prometheus-node-exporter); for another directory, see")
        .fix("systemctl cat pixeld-metrics.service")
        .fix("# or, without node_exporter:")
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
