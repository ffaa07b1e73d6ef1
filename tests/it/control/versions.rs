//! pixeldctl and a daemon of another version, as a rolling upgrade has them.

use std::{os::unix::net::UnixListener, process::Output};

use serde_json::{Value, json};

use crate::support::{code, ctl, serve_version, stderr, stdout};

const OWN: &str = env!("CARGO_PKG_VERSION");

/// What pixeldctl makes of a service that calls itself this, and has one reply to everything else.
fn ask(product: &str, version: &str, reply: &Value, command: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    serve_version(UnixListener::bind(&path).unwrap(), product, version, reply.clone());
    ctl(&path, command)
}

fn assert_names_versions(version: &str, upgrade: &str, reply: &Value, command: &[&str]) {
    let output = ask("pixeld", version, reply, command);
    let said = stderr(&output);
    assert_eq!(code(&output), 76, "{command:?}: {output:?}");
    assert!(said.contains(&format!(" (pixeld {version}, pixeldctl {OWN})\n")), "{command:?}: {said}");
    assert_eq!(said.lines().nth(1), Some(upgrade), "{command:?}");
    // Monitoring reads pixeld_up.
    assert!(output.stdout.is_empty() || command.contains(&"--prometheus"), "{command:?}: {output:?}");
}

#[test]
fn undecodable_reply_names_both_versions() {
    let lacking = json!({ "parameters": { "lacking": 1 } });
    let upgrade = format!("hint: upgrade pixeld to {OWN}, then `sudo systemctl restart pixeld`");
    let commands: [&[&str]; 12] = [
        &["status"],
        &["stats"],
        &["stats", "--prometheus"],
        &["stats", "--watch", "1"],
        &["workers"],
        &["workers", "2"],
        &["events"],
        &["events", "--follow", "--json"],
        &["config"],
        &["log-level"],
        &["reload"],
        &["drain"],
    ];
    for command in commands {
        assert_names_versions("0.1.0", &upgrade, &lacking, command);
    }
    assert_names_versions("99.0.0", "hint: upgrade pixeldctl to 99.0.0", &lacking, &["stats"]);
}

#[test]
fn unknown_method_or_error_names_both_versions() {
    let unknown = "org.varlink.service.MethodNotFound";
    let no_method = json!({ "error": unknown, "parameters": { "method": "io.pixeld.Control.GetMore" } });
    let new_error = json!({ "error": "io.pixeld.Control.Undreamt", "parameters": {} });
    let new_field = json!({ "error": "io.pixeld.Control.Busy", "parameters": { "task": "reload" } });
    for reply in [no_method, new_error, new_field] {
        for command in [&["drain"][..], &["stats", "--watch", "1"]] {
            assert_names_versions("99.0.0", "hint: upgrade pixeldctl to 99.0.0", &reply, command);
        }
    }
}

#[test]
fn doctor_names_both_versions() {
    let output = ask("pixeld", "0.1.0", &json!({ "parameters": {} }), &["doctor", "--json"]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let daemon = findings.iter().find(|finding| finding["check"] == "daemon").unwrap();
    let evidence = daemon["evidence"].as_str().unwrap();
    assert!(evidence.contains(&format!("(pixeld 0.1.0, pixeldctl {OWN})")), "{daemon}");
}

#[test]
fn same_version_or_other_program_is_not_upgraded() {
    let lacking = json!({ "parameters": {} });
    let said = stderr(&ask("pixeld", OWN, &lacking, &["stats"]));
    assert!(said.ends_with(&format!(" (pixeld {OWN}, pixeldctl {OWN})\n")), "{said}");
    let said = stderr(&ask("pixeld", "unknown", &lacking, &["stats"]));
    assert!(said.ends_with("\nhint: install the same version of pixeld and pixeldctl\n"), "{said}");
    let said = stderr(&ask("systemd-resolved", "257", &lacking, &["stats"]));
    let expected = format!(
        " (systemd-resolved 257, pixeldctl {OWN})\nhint: name the socket of a pixeld with --socket\n"
    );
    assert!(said.ends_with(&expected), "{said}");
}
