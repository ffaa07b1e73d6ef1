//! A program, not a test: `make pictures` runs it. Writes what pixeldctl shows on a real host under load, for the
//! pictures of the README, into the folder that is its argument.

mod harness;

use std::{env, fs, path::PathBuf, process::Command, thread, time::Duration};

use harness::{C5_OUTSIDE, Host, Load, deployment, wait_until};

/// A terminal of 80 columns, with a program of a host on it.
struct Screen {
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Screen {
    fn of(host: &Host, lines: u32, command: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let screen = Self { socket: folder.path().join("tmux"), _folder: folder };
        let shown = format!("{command}; printf '%s' READY; sleep 600");
        let enter =
            format!("exec nsenter --target {} --all -- env LANG=C.UTF-8 sh -c \"{shown}\"", host.leader());
        let lines = lines.to_string();
        screen.tmux(&["-u", "-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", &lines, &enter]);
        screen
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.env("LANG", "C.UTF-8").env("TERM", "xterm-256color").env_remove("TMUX");
        let output = tmux.arg("-S").arg(&self.socket).args(arguments).output().expect("tmux is installed");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn content(&self) -> String {
        self.tmux(&["capture-pane", "-e", "-p"])
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

fn main() {
    let folder = PathBuf::from(env::args_os().nth(1).expect("an argument: the folder to write to"));
    let save = |name: &str, text: &str| {
        fs::write(folder.join(name).with_extension("ansi"), text.replace("READY", "").trim_end())
            .expect("written");
    };
    let site = deployment::start();
    let load = site.client.load(Load { connections: 8, rate: 1_000, ..Load::on(C5_OUTSIDE) });
    load.wait_for_answers(12_000);
    site.c5.run("pixeldctl workers 3");
    for (name, lines, command) in [
        ("status", 26, "pixeldctl status"),
        ("stats", 14, "pixeldctl stats"),
        ("doctor", 40, "pixeldctl doctor"),
    ] {
        let screen = Screen::of(&site.c5, lines, command);
        wait_until("the command has printed all", || screen.content().contains("READY"));
        save(name, &screen.content());
    }
    let top = Screen::of(&site.c5, 24, "pixeldctl top");
    wait_until("top is on the screen", || top.content().contains("WORKER"));
    // What grows with time is to be seen.
    thread::sleep(Duration::from_secs(20));
    save("top", &top.content());
    load.stop();
}
