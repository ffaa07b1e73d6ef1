//! What can go wrong on the way to another host, and there.

use std::{
    os::unix::net::UnixListener,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::hosts::Hosts;
use crate::support::{Daemon, code, serve_version, stderr, stdout};

/// The exit code, and what is said.
fn fails(hosts: &Hosts, arguments: &[&str]) -> (i32, String) {
    let output = hosts.ctl(arguments);
    assert_eq!(stdout(&output), "", "nothing is there to be shown");
    (code(&output), stderr(&output))
}

#[test]
fn reachable_host_is_shown_beside_a_failed_one() {
    let c5 = Daemon::start("workers = 2");
    let hosts = Hosts::new().daemon("c5", &c5);
    for order in [["c5", "t2"], ["t2", "c5"]] {
        let output = hosts.ctl(&["stats", "-H", order[0], "-H", order[1]]);
        assert_eq!(code(&output), 69);
        let (text, error) = (stdout(&output), stderr(&output));
        assert!(text.starts_with("c5\n") && text.contains("workers: 2") && !text.contains("all"), "{text}");
        let expected = "pixeldctl: t2: ssh: Could not resolve hostname t2\nhint: try `ssh t2 true`\n";
        assert_eq!(error, expected);
    }
    let output = hosts.ctl(&["stats", "-H", "t2", "-H", "c5", "--json"]);
    assert_eq!(code(&output), 69);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json["hosts"][0]["host"], "t2");
    assert_eq!(json["hosts"][0]["error"], "ssh: Could not resolve hostname t2");
    assert_eq!(json["hosts"][1]["reply"]["workers"], 2);
    assert_eq!(json["sum"], Value::Null, "one reply is no sum");
}

#[test]
fn first_failed_host_gives_the_exit_code() {
    let hosts = Hosts::new().socket("t2", Path::new("/nowhere/admin.sock"));
    let (code, said) = fails(&hosts, &["drain", "-H", "c5", "-H", "t2"]);
    assert_eq!(code, 69);
    assert!(said.contains("pixeldctl: c5: ssh: ") && said.contains("pixeldctl: t2: pixeld is not running"));
}

#[test]
fn ssh_failure_is_quoted() {
    let script = "echo 'Warning: Permanently added t2' >&2\necho 'Connection refused' >&2\nexit 255";
    let hosts = Hosts::new().script("root@t2", script);
    let (code, said) = fails(&hosts, &["stats", "-H", "root@t2"]);
    assert_eq!(code, 69);
    assert_eq!(
        said,
        "pixeldctl: t2: Warning: Permanently added t2\nConnection refused\nhint: try `ssh root@t2 true`\n"
    );
}

#[test]
fn remote_stderr_is_sanitized() {
    let hosts = Hosts::new().script("t2", "printf '\\033[31mevil\\033]0;title\\007\\r\\n' >&2; exit 255");
    let (_, said) = fails(&hosts, &["stats", "-H", "t2"]);
    assert_eq!(said.lines().next(), Some("pixeldctl: t2: \\u{1b}[31mevil\\u{1b}]0;title\\u{7}"));
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
}

#[test]
fn doctor_of_another_host_does_not_suggest_sudo_here() {
    let report = r#"{"ok":true,"findings":[{"check":"daemon","state":"skipped","summary":"no permission to connect to /run/x: use sudo, or `sudo usermod -aG pixeld $USER`","evidence":"","fix":[]}]}"#;
    let hosts = Hosts::new().script("t2", &format!("cat <<'END'\n{report}\nEND"));
    let text = hosts.text(&["doctor", "-H", "t2"]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("log in as root, or run `sudo pixeldctl doctor` on t2, or"), "{text}");
}

#[test]
fn unexpected_remote_stdout_is_shown() {
    let words = "Please login as the user \"admin\" rather than the user \"root\".";
    // As cloud-init has it; it keeps the connection for a while, and so does a prompt.
    let kept = format!("echo; echo '{words}'; echo; exec sleep 60");
    let hosts = Hosts::new()
        .script("cloud", &format!("echo; echo '{words}'; exit 142"))
        .script("kept", &kept)
        .script("nologin", "echo 'This account is currently not available.'; exit 1")
        .script("expired", "echo 'Your password has expired.'; echo 'Permission denied.' >&2; exit 0");
    for (host, said) in [
        ("cloud", words),
        ("kept", words),
        ("nologin", "This account is currently not available."),
        ("expired", "Your password has expired.\nPermission denied."),
    ] {
        for command in ["stats", "doctor"] {
            let (code, printed) = fails(&hosts, &[command, "-H", host, "--timeout", "2s"]);
            assert_eq!(code, 69, "{host}: {printed}");
            assert!(printed.starts_with(&format!("pixeldctl: {host}: {said}\n")), "{printed}");
        }
    }
    hosts.expect_no_ssh_left();
}

#[test]
fn remote_report_is_sanitized() {
    let report = r#"{"ok":false,"findings":[{"check":"a\u001b[2J","state":"problem","summary":"b\u202ec","evidence":"d\u2028e","fix":["f\nFORGED"]}]}"#;
    let hosts = Hosts::new().script("t2", &format!("cat <<'END'\n{report}\nEND"));
    let output = hosts.ctl(&["doctor", "-H", "t2"]);
    let printed = stdout(&output);
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(printed.contains("a\\u{1b}[2J") && printed.contains("f\\nFORGED"), "{printed}");
    let is_unsafe = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{2028}".contains(c);
    assert!(!printed.contains(is_unsafe), "{printed:?}");
    let json = hosts.ctl(&["doctor", "-H", "t2", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(json["hosts"][0]["reply"]["findings"][0]["fix"][0], "f\nFORGED");
}

#[test]
fn missing_pixeldctl_differs_from_missing_daemon() {
    let script = "echo 'sh: 1: pixeldctl: not found' >&2\nexit 127";
    let hosts = Hosts::new().script("t2", script).socket("c5", Path::new("/nowhere/admin.sock"));
    let (code, said) = fails(&hosts, &["stats", "-H", "t2"]);
    assert_eq!(code, 69);
    assert!(
        said.starts_with("pixeldctl: t2: pixeldctl is not installed there\nhint: install pixeld on t2"),
        "{said}"
    );

    let (code, said) = fails(&hosts, &["stats", "-H", "c5"]);
    assert_eq!(code, 69);
    let expected = "pixeldctl: c5: pixeld is not running: no process listens at /nowhere/admin.sock\n\
                hint: `ssh c5 sudo systemctl start pixeld`\n";
    assert_eq!(said, expected);
}

#[test]
fn remote_permission_error_names_the_group() {
    let refusal = "echo 'pixeldctl: no permission to connect to /run/pixeld/admin.sock' >&2\n\
                   echo 'hint: use sudo' >&2\nexit 77";
    let hosts = Hosts::new().script("t2", &format!("echo '*** No trespassing ***' >&2\n{refusal}"));
    let (code, said) = fails(&hosts, &["drain", "-H", "t2"]);
    assert_eq!(code, 77);
    let expected = "pixeldctl: t2: no permission to connect to /run/pixeld/admin.sock\n\
                hint: log in there as root or as a member of the group pixeld-admin\n";
    assert_eq!(said, expected, "the greeting is left out, and so is advice for people who are there");
}

#[test]
fn too_old_remote_pixeldctl_is_reported() {
    let script = "echo \"error: unrecognized subcommand 'bridge'\" >&2\necho 'Usage: pixeldctl' >&2\nexit 64";
    let (code, said) = fails(&Hosts::new().script("t2", script), &["stats", "-H", "t2"]);
    assert_eq!(code, 76);
    let expected = "pixeldctl: t2: error: unrecognized subcommand 'bridge'\n\
                hint: install the same version of pixeld on t2 and here\n";
    assert_eq!(said, expected);
}

#[test]
fn hanging_host_times_out_and_its_ssh_ends() {
    let c5 = Daemon::start("workers = 2");
    let hosts = Hosts::new().daemon("c5", &c5).script("t2", "exec sleep 60");
    let begun = Instant::now();
    let output = hosts.ctl(&["stats", "-H", "t2", "-H", "c5", "--timeout", "500ms"]);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(code(&output), 75);
    assert!(stdout(&output).starts_with("c5\n"), "{}", stdout(&output));
    let expected = "pixeldctl: t2: no response within 500ms\n\
                hint: `ssh t2 systemctl status pixeld`\n";
    assert_eq!(stderr(&output), expected);
    hosts.expect_no_ssh_left();
}

#[test]
fn noisy_remote_shell_is_reported() {
    let c5 = Daemon::start("");
    let socket = c5.admin_socket();
    let greeting = format!(
        "echo Welcome\nshift\nPIXELDCTL_SOCKET='{}' exec '{}' \"$@\"",
        socket.display(),
        crate::support::PIXELDCTL
    );
    let endless = "exec cat /dev/zero";
    let noise = "while :; do printf 'noise and noise and noise without an end'; done 2>&-";
    let hosts = Hosts::new().script("t2", &greeting).script("zeros", endless).script("noise", noise);
    for host in ["t2", "zeros", "noise"] {
        let (code, said) = fails(&hosts, &["stats", "-H", host]);
        assert_eq!(code, 76, "{said}");
        let expected = format!("pixeldctl: {host}: the response cannot be understood: ");
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.ends_with("must print nothing\n"), "{said}");
    }
    hosts.expect_no_ssh_left();
}

#[test]
fn remote_pixeld_of_another_version_is_reported() {
    let hosts = Hosts::new().script("t2", "printf '{\"parameters\":{\"workers\":[]}}\\0'; exec cat");
    let (code, said) = fails(&hosts, &["workers", "-H", "t2"]);
    assert_eq!(code, 76);
    let expected = "pixeldctl: t2: the response cannot be understood: missing field `configured`\n\
                hint: pixeldctl here and pixeld on t2 may have different versions; ";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn remote_version_is_named_in_text_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let lacking = json!({ "parameters": { "workers": [] } });
    serve_version(UnixListener::bind(&path).unwrap(), "pixeld", "0.1.0", lacking);
    let hosts = Hosts::new().socket("t2", &path);
    let own = env!("CARGO_PKG_VERSION");
    let (code, said) = fails(&hosts, &["workers", "-H", "t2"]);
    let message = format!(
        "the response cannot be understood: missing field `configured` (pixeld 0.1.0, pixeldctl {own})"
    );
    let hint = format!("upgrade pixeld on t2 to {own}, then `ssh t2 sudo systemctl restart pixeld`");
    assert_eq!((code, said), (76, format!("pixeldctl: t2: {message}\nhint: {hint}\n")));
    assert_eq!(hosts.asked(), ["t2: pixeldctl bridge read"; 2]);

    let json: Value = serde_json::from_str(&stdout(&hosts.ctl(&["workers", "-H", "t2", "--json"]))).unwrap();
    let error = json!({ "host": "t2", "error": message, "hint": hint });
    assert_eq!(json["hosts"], json!([error]));
}

#[test]
fn doctor_report_of_another_version_names_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    serve_version(UnixListener::bind(&path).unwrap(), "pixeld", "99.0.0", Value::Null);
    let script = format!(
        "if [ $2 = doctor ]; then echo '{{\"ok\":true,\"found\":[]}}'; exit; fi\n\
         shift\nPIXELDCTL_SOCKET='{}' exec '{}' \"$@\"",
        path.display(),
        crate::support::PIXELDCTL
    );
    let (code, said) = fails(&Hosts::new().script("t2", &script), &["doctor", "-H", "t2"]);
    assert_eq!(code, 76);
    assert!(said.contains("(pixeld 99.0.0, pixeldctl "), "{said}");
    assert!(said.ends_with("\nhint: upgrade pixeldctl on this host to 99.0.0\n"), "{said}");
}

#[test]
fn truncated_reply_differs_from_remote_failure() {
    let half = "printf '{\"parameters\":{\"already\":'";
    let hosts = Hosts::new()
        .script("restarts", half)
        .script("fails", &format!("{half}\necho 'Killed by signal 15.' >&2; exit 255"))
        .script("silent", "exit 3")
        .script("killed", "kill -9 $$");
    for (host, status, message) in [
        (
            "restarts",
            75,
            "the daemon closed the connection\nhint: try again if pixeld is restarting; otherwise the socket may belong to another program\n",
        ),
        ("fails", 69, "Killed by signal 15.\nhint: try `ssh fails true`\n"),
        ("silent", 69, "ssh exited with status 3 and no message\n"),
        ("killed", 69, "ssh ended with no message\n"),
    ] {
        let (code, said) = fails(&hosts, &["drain", "-H", host]);
        assert_eq!((code, said), (status, format!("pixeldctl: {host}: {message}")));
    }
}

#[test]
fn much_remote_stderr_does_not_block() {
    let t2 = Daemon::start("workers = 2");
    let chatty = format!(
        "head -c 1000000 /dev/zero | tr '\\0' x >&2\nshift\nPIXELDCTL_SOCKET='{}' exec '{}' \"$@\"",
        t2.admin_socket().display(),
        crate::support::PIXELDCTL
    );
    let hosts = Hosts::new().script("t2", &chatty);
    assert!(hosts.text(&["stats", "-H", "t2"]).contains("workers: 2"));
}

#[test]
fn open_ssh_stderr_does_not_block() {
    let script = "sleep 20 >&- <&- &\necho $! > \"$here/left\"\necho 'no way' >&2\nexit 255";
    let hosts = Hosts::new().script("t2", script);
    let begun = Instant::now();
    let (code, said) = fails(&hosts, &["stats", "-H", "t2"]);
    assert_eq!((code, said.lines().next()), (69, Some("pixeldctl: t2: no way")));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    hosts.end_what_is_left();
}

#[test]
fn host_is_never_an_option_of_ssh() {
    let t2 = Daemon::start("workers = 2");
    let hosts = Hosts::new().daemon("-oProxyCommand=touch x", &t2).daemon("--", &t2);
    for host in ["-oProxyCommand=touch x", "--"] {
        let text = hosts.text(&["stats", &format!("--host={host}")]);
        assert!(text.starts_with(host), "{text}");
    }
    let (code, said) = fails(&hosts, &["stats", "--host=-v"]);
    assert_eq!((code, said.as_str()), (69, "pixeldctl: -v: ssh: Could not resolve hostname -v\n"));
    assert_eq!(hosts.asked().len(), 3, "all came behind the end of the options");
}

#[test]
fn missing_ssh_is_reported() {
    let mut command = Hosts::new().command(&["stats", "-H", "t2"]);
    let output = crate::support::captured(command.env("PIXELDCTL_SSH", "/nowhere/ssh"));
    assert_eq!(code(&output), 71);
    let expected = "pixeldctl: t2: cannot run /nowhere/ssh: No such file or directory (os error 2)\n\
                hint: `sudo apt install openssh-client || sudo dnf install openssh-clients`\n";
    assert_eq!(stderr(&output), expected);
}

#[test]
fn closed_pipe_of_remote_output_is_silent() {
    let (c5, t2) = (Daemon::start(""), Daemon::start(""));
    let hosts = Hosts::with_daemons(&c5, &t2);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = hosts.command(&["stats", "-H", "c5", "-H", "t2"]);
    let output = crate::support::run(command.stdout(writer).stderr(Stdio::piped()));
    assert_eq!((code(&output), stderr(&output)), (74, String::new()));
}
