//! The quick start of the README, as a reader takes it: in a network of its own, on port 8000.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::{PIXELD, captured, eventually, stdout};

const README: &str = include_str!("../../README.md");

/// The commands below a heading, each with what it is said to print.
fn commands(heading: &str) -> Vec<(String, String)> {
    let (_, section) = README.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let lines =
        section.lines().filter_map(|line| line.strip_prefix("    ").or(line.is_empty().then_some("")));
    let shown = lines.collect::<Vec<_>>().join("\n");
    let commands = shown.split("\n$ ").skip(1).map(|text| {
        let continued = text.lines().take_while(|line| line.ends_with('\\')).count() + 1;
        let lines: Vec<_> = text.lines().collect();
        (lines[..continued].join("\n"), lines[continued..].join("\n").trim().to_owned())
    });
    commands.collect()
}

/// What differs each time: digits, and names of days and months.
fn shape(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| {
        let line = line.trim().split_once("date: ").map_or(line.trim(), |_| "date: 0");
        let words = line.split_whitespace().map(|word| {
            let number = word.trim_start_matches('(').starts_with(|c: char| c.is_ascii_digit());
            // Times have the unit that fits, rates as many digits.
            let is_unit = ["us", "us,", "ms", "ms,"].contains(&word);
            if is_unit {
                "us".into()
            } else if number {
                digits_away(word)
            } else {
                word.to_owned()
            }
        });
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect()
}

fn digits_away(word: &str) -> String {
    word.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect()
}

/// A shell's command, in a network of its own. Who starts it need not be root.
fn in_own_network(command: &str) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--map-root-user", "sh", "-c", &format!("ip link set lo up && {command}")]);
    unshare
}

/// `make run`, in a network where port 8000 is free.
struct Served(Child);

impl Served {
    fn start(folder: &Path) -> Self {
        let network = captured(&mut in_own_network("true"));
        assert!(
            network.status.success(),
            "a user cannot have a network here ({}). Where AppArmor forbids it, as on Ubuntu, allow it with: \
             sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            String::from_utf8_lossy(&network.stderr).trim()
        );
        let build = Path::new(PIXELD).parent().unwrap();
        let mut script = in_own_network("exec sh tests/run-by-hand");
        script
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("BUILD", build)
            .env("XDG_RUNTIME_DIR", folder)
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.join("stdout")).unwrap())
            .stderr(fs::File::create(folder.join("stderr")).unwrap());
        Self(script.spawn().expect("unshare, of util-linux, can be started"))
    }

    fn enter(&self) -> Command {
        let mut enter = Command::new("nsenter");
        let pid = self.0.id().to_string();
        enter.args(["--target", &pid, "--user", "--preserve-credentials", "--net"]);
        enter
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

#[test]
fn quick_start_prints_what_the_readme_shows() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path());
    let said = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    eventually("it is ready", || said("stderr").contains(" event=ready ").then_some(()));
    let examples = commands("Quick start");
    assert_eq!(examples.len(), 2, "{examples:?}");
    let build = Path::new(PIXELD).parent().unwrap().to_str().unwrap();
    for (command, shown) in examples {
        let command = command.replace("target/release", build);
        // As `make run` says it, too.
        let is_printed = |line: &str| said("stdout").contains(line.trim());
        assert!(command.lines().all(is_printed), "{command}\n{}", said("stdout"));
        let output = captured(
            served
                .enter()
                .args(["sh", "-c", &command.replace("curl ", "curl --silent ")])
                .env("XDG_RUNTIME_DIR", folder.path()),
        );
        assert_eq!(shape(stdout(&output).trim()), shape(&shown), "{command}: {output:?}");
    }
}

/// The command for pixeldctl that `make run` shows, in a file system where /run has this script's changes.
fn shown_by_make_run(folder: &Path, in_run: &str, environment: &[(&str, &str)]) -> String {
    // A daemon that ends at once: only what is said before counts.
    let build = folder.join("build");
    if !build.exists() {
        fs::create_dir(&build).unwrap();
        symlink("/bin/true", build.join("pixeld")).unwrap();
    }
    let script = format!("mount -t tmpfs run /run && {in_run} && exec sh tests/run-by-hand");
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "sh", "-c", &script]);
    unshare.current_dir(env!("CARGO_MANIFEST_DIR")).env("BUILD", &build).env("XDG_RUNTIME_DIR", folder);
    let output = captured(unshare.env_remove("PIXELDCTL_SOCKET").envs(environment.iter().copied()));
    let text = stdout(&output);
    let line = text.lines().find(|line| line.contains("pixeldctl stats"));
    line.unwrap_or_else(|| panic!("{output:?}")).split("/pixeldctl ").last().unwrap().into()
}

#[test]
fn make_run_names_the_socket_if_needed() {
    let folder = tempfile::tempdir().unwrap();
    let shown = |in_run, environment: &[_]| shown_by_make_run(folder.path(), in_run, environment);
    let with_socket = format!("stats --socket {}/pixeld/admin.sock", folder.path().display());
    assert_eq!(shown("true", &[]), "stats");
    assert_eq!(shown("mkdir /run/pixeld", &[]), with_socket);
    assert_eq!(shown("true", &[("PIXELDCTL_SOCKET", "/another.sock")]), with_socket);
}

#[test]
fn named_files_and_targets_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let makefile = fs::read_to_string(root.join("Makefile")).unwrap();
    for name in [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "ARCHITECTURE.md",
        "docs/install.md",
        "docs/soak.md",
        "deploy/README.md",
        "load/README.md",
        "fuzz/README.md",
    ] {
        let text = fs::read_to_string(root.join(name)).unwrap();
        let folder = root.join(name).parent().unwrap().to_owned();
        let pictures = text.replace("src=\"", "](").replace("srcset=\"", "](");
        let links = pictures.split("](").skip(1).map(|rest| rest.split([')', '#', '"']).next().unwrap());
        for link in links.filter(|link| !link.contains("://") && !link.is_empty()) {
            assert!(folder.join(link).exists(), "{name}: {link}");
        }
        let text = text.replace("\n    make ", "`make ").replace("\n    sudo make ", "`make ");
        let targets = text.split("`make ").skip(1);
        let words = targets.flat_map(|line| line.split(['`', '#', '\n']).next().unwrap().split_whitespace());
        for target in words.filter(|word| !word.contains('=')).map(|word| word.trim_end_matches([',', ';'])) {
            assert!(makefile.contains(&format!("\n{target}:")), "{name}: make {target}");
        }
    }
}

#[test]
fn prose_lines_are_at_most_110_wide() {
    for name in ["README.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        let wide: Vec<_> =
            text.lines().filter(|line| !line.starts_with('|') && line.chars().count() > 110).collect();
        assert!(wide.is_empty(), "{name}: {wide:#?}");
    }
}
