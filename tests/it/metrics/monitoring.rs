//! The rules and the dashboard in monitoring/, compared with the metrics that there are and with the manual.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::text;
use crate::support::{Daemon, captured, code};

/// What node_exporter and Prometheus have themselves. The system test compares it with the real ones.
const OF_OTHERS: [&str; 2] = ["node_cpu_seconds_total", "node_textfile_mtime_seconds"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn promtool(arguments: &[&str]) {
    let output = captured(Command::new("promtool").args(arguments).current_dir(folder()));
    assert_eq!(code(&output), 0, "{arguments:?}: {output:?}");
}

fn behind<'t>(text: &'t str, mark: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| line.trim_start().strip_prefix(mark))
}

/// Words of a text that may be names of metrics.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
}

#[test]
fn rules_pass_their_tests() {
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["test", "rules", "pixeld.rules.test.yml"]);
}

#[test]
fn every_alert_has_a_case_and_an_entry_in_the_manual() {
    let (rules, cases) = (read("pixeld.rules.yml"), read("pixeld.rules.test.yml"));
    let alerts: BTreeSet<_> = behind(&rules, "- alert: ").collect();
    let linked: BTreeSet<_> = behind(&rules, "manual: pixeld(8), ALERTS, ").collect();
    assert_eq!(linked, alerts);
    for alert in &alerts {
        assert!(cases.contains(&format!("alertname: {alert}\n        exp_alerts:\n")), "{alert} never fires");
    }
    let page = include_str!("../../../man/pixeld.8");
    let (_, section) = page.split_once("\n.Sh ALERTS\n").unwrap();
    let (section, _) = section.split_once("\n.Sh ").unwrap();
    let explained: BTreeSet<_> = behind(section, ".It Sy ").collect();
    assert_eq!(explained, alerts);
}

#[test]
fn rules_and_dashboard_name_metrics_that_exist() {
    let exposition = text(&Daemon::start("").ctl(&["stats", "--prometheus"]));
    let mut known: BTreeSet<_> =
        behind(&exposition, "# TYPE ").map(|line| line.split(' ').next().unwrap()).collect();
    known.extend(OF_OTHERS);
    let rules = read("pixeld.rules.yml");
    known.extend(behind(&rules, "- record: "));
    for name in ["pixeld.rules.yml", "pixeld.rules.test.yml", "grafana-dashboard.json", "README.md"] {
        let text = read(name);
        let named = words(&text).filter(|word| {
            word.starts_with("pixeld_")
                || word.starts_with("node_") && *word != "node_exporter"
                || word.contains(":pixeld_")
        });
        for word in named {
            let metric = word.trim_end_matches("_bucket");
            assert!(known.contains(metric), "{name}: {word}");
        }
    }
}

/// Each panel queries the data source, job and hosts that the viewer chose, with valid expressions.
#[test]
fn dashboard_expressions_are_valid() {
    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for (number, target) in targets.enumerate() {
        assert_eq!(target["datasource"]["uid"], "${datasource}");
        let expression = target["expr"].as_str().unwrap();
        assert!(expression.contains("job=~\"$job\",instance=~\"$instance\""), "{expression}");
        let expression = expression.replace("$__rate_interval", "5m");
        rules += &format!("  - record: panel:{number}\n    expr: {}\n", Value::from(expression));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dashboard.yml");
    fs::write(&file, rules).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}
