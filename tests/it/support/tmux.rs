use std::{fs, process::Command};

use tempfile::TempDir;

use super::{
    eventually,
    program::{captured, stderr, stdout},
};

/// A terminal with a shell in it, as somebody sits before it. It goes away when the test ends, with
/// everything that runs in it.
pub struct Tmux {
    folder: TempDir,
}

impl Tmux {
    /// `environment` is for the shell, which has besides it only a path and a locale.
    pub fn start(width: u16, height: u16, environment: &[(&str, &str)]) -> Self {
        let tmux = Self { folder: tempfile::tempdir().unwrap() };
        let (width, height) = (width.to_string(), height.to_string());
        let mut arguments = vec!["-u", "-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height];
        let variables: Vec<_> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        arguments.push("env");
        arguments.extend(variables.iter().map(String::as_str));
        arguments.extend(["PS1=$ ", "sh"]);
        tmux.tell(&arguments);
        tmux.wait_for("$");
        tmux
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").env("SHELL", "/bin/sh");
        tmux.arg("-S").arg(self.folder.path().join("tmux.sock")).args(arguments);
        tmux
    }

    /// Runs a command of tmux's: what it prints.
    pub fn tell(&self, arguments: &[&str]) -> String {
        let output = captured(&mut self.command(arguments));
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    /// Types keys, as tmux names them.
    pub fn press(&self, keys: &[&str]) {
        self.tell(&[&["send-keys"], keys].concat());
    }

    /// Types a line of shell.
    pub fn enter(&self, line: &str) {
        self.tell(&["send-keys", "-l", line]);
        self.press(&["Enter"]);
    }

    /// What can be read.
    pub fn screen(&self) -> String {
        self.tell(&["capture-pane", "-p"])
    }

    /// Waits until something can be read: the whole screen.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    pub fn wait_until(&self, what: &str, mut is_there: impl FnMut(&str) -> bool) -> String {
        eventually(&format!("{what} on the screen"), || Some(self.screen()).filter(|screen| is_there(screen)))
    }

    pub fn resize(&self, width: u16, height: u16) {
        self.tell(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// Runs a program that shows itself on the whole screen, and notes its process and its exit
    /// status.
    pub fn run(&self, line: &str) {
        self.enter(&format!("sh -c 'echo $$ >{}; exec {line}'; echo ended with $?", self.note().display()));
    }

    /// The process of the program that was run.
    pub fn pid(&self) -> i32 {
        let read = || fs::read_to_string(self.note()).ok()?.trim().parse().ok();
        eventually("the process of the program", read)
    }

    fn note(&self) -> std::path::PathBuf {
        self.folder.path().join("pid")
    }

    /// Whether there is the usual screen, with a cursor, and a line editor in the kernel.
    pub fn is_as_before(&self) -> bool {
        let flags = self.tell(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        self.enter("clear; stty -a");
        let modes = self.wait_for("icanon");
        flags.trim() == "0 1" && ["icanon", "echo", "isig", "opost"].iter().all(|mode| has_word(&modes, mode))
    }
}

fn has_word(text: &str, word: &str) -> bool {
    text.split_whitespace().any(|found| found.trim_end_matches(';') == word)
}

impl Drop for Tmux {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let screen = self.command(&["capture-pane", "-p"]).output();
            eprintln!("--- the screen ---\n{}", screen.map(|output| stdout(&output)).unwrap_or_default());
        }
        // Where its session has ended, so has the server.
        let _ = self.command(&["kill-server"]).output();
    }
}
