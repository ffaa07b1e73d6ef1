//! A program, not a test: `make pictures` runs it for the pictures of the README. Writes the screens of pixeldctl, with
//! two hosts under load, to the folder that is its argument.

mod harness;

use std::{env, fs, path::PathBuf, process::Command, thread, time::Duration};

use harness::{C5_OUTSIDE, Host, Load, deployment, ssh, wait_until};

/// A terminal of 80 columns in which a command runs on a host.
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
        // The server may have exited already.
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
    for (host, name) in [(&site.c5, "c5"), (&site.t2, "t2")] {
        ssh::allow(&site.c5, "root", host, name, &["root"]);
    }
    let load = site.client.load(Load { connections: 8, rate: 1_000, ..Load::on(C5_OUTSIDE) });
    load.wait_for_answers(12_000);
    site.c5.run("pixeldctl workers 3");
    for (name, lines, command) in [
        ("status", 60, "pixeldctl status -H c5 -H t2"),
        ("stats", 60, "pixeldctl stats -H c5 -H t2"),
        ("doctor", 40, "pixeldctl doctor"),
    ] {
        let screen = Screen::of(&site.c5, lines, command);
        wait_until("the command has printed everything", || screen.content().contains("READY"));
        save(name, &screen.content());
    }
    let top = Screen::of(&site.c5, 30, "pixeldctl top -H c5 -H t2");
    wait_until("top is on the screen", || top.content().contains("WORKER"));
    // Until then the sparklines are nearly empty.
    thread::sleep(Duration::from_secs(20));
    save("top", &top.content());
    load.stop();
}
