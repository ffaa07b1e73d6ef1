//! What shells make of the scripts that `pixeldctl completions` prints.

use std::process::Command;

use crate::support::{PIXELDCTL, captured, code, run, stderr, stdout};

fn script(shell: &str) -> String {
    let output = captured(Command::new(PIXELDCTL).args(["completions", shell]));
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    stdout(&output)
}

/// What bash offers behind these words.
fn offered(words: &[&str]) -> Vec<String> {
    let complete = r#"source "$1"; shift; read -ra how < <(complete -p pixeldctl)
        COMP_WORDS=(pixeldctl "$@"); COMP_CWORD=$#
        "${how[-2]}" pixeldctl "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pixeldctl");
    std::fs::write(&file, script("bash")).unwrap();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", complete, "bash"]).arg(file).args(words);
    let output = captured(&mut bash);
    assert_eq!(stderr(&output), "");
    stdout(&output).lines().map(String::from).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(offered(&["wo"]), ["workers"]);
    assert_eq!(offered(&["stats", "--pro"]), ["--prometheus"]);
    let levels = offered(&["log-level", ""]);
    for level in ["error", "warn", "info", "debug", "auto"] {
        assert!(levels.iter().any(|offer| offer == level), "{levels:?}");
    }
    assert_eq!(offered(&["log-level", "de"]), ["debug"]);
}

#[test]
fn zsh_and_fish_can_read_their_scripts() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["zsh", "fish"] {
        let text = script(shell);
        assert!(text.contains("log-level"), "{text}");
        let file = folder.path().join(shell);
        std::fs::write(&file, text).unwrap();
        if Command::new(shell).arg("--version").output().is_err() {
            eprintln!("not tested: there is no {shell}");
            continue;
        }
        let output = captured(Command::new(shell).arg("-n").arg(&file));
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{shell}");
    }
}

#[test]
fn closed_pipe_of_a_script_is_silent() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut ctl = Command::new(PIXELDCTL);
    ctl.args(["completions", "bash"]).stdout(writer).stderr(std::process::Stdio::piped());
    assert_eq!(stderr(&run(&mut ctl)), "");
}
