//! `--output`, which node_exporter reads, and `--if-active`, which lets a stopped daemon stay stopped.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use super::{assert_promtool_agrees, samples, script, text};
use crate::support::{Daemon, PIXELDCTL, captured, code, stderr, stdout};

#[test]
fn daemon_that_is_down_is_written_as_down() {
    let mut daemon = Daemon::start("");
    let file = daemon.folder().join("pixeld.prom");
    let write = ["stats", "--prometheus", "--output", file.to_str().unwrap()];
    text(&daemon.ctl(&write));
    let up = |text: &str| samples(text).get("pixeld_up").map(ToString::to_string);
    assert_eq!(up(&fs::read_to_string(&file).unwrap()).as_deref(), Some("1"));
    daemon.stop();

    assert_eq!(text(&daemon.ctl(&write)), "", "the file says it, so nothing else has to");
    let down = fs::read_to_string(&file).unwrap();
    assert_eq!(samples(&down), BTreeMap::from([("pixeld_up", "0")]), "figures of before are gone");
    assert_promtool_agrees(&down);

    let printed = daemon.ctl(&["stats", "--prometheus"]);
    assert_eq!((code(&printed), stdout(&printed)), (69, down));
    assert!(stderr(&printed).contains("pixeld is not running"), "{}", stderr(&printed));
}

#[test]
fn silent_daemon_is_written_as_down_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, file) = (folder.path().join("s"), folder.path().join("pixeld.prom"));
    let _silent = UnixListener::bind(&socket).unwrap();
    let mut ctl = Command::new(PIXELDCTL);
    ctl.env_clear().args(["stats", "--prometheus", "--timeout", "200ms", "--socket"]).arg(&socket);
    let output = captured(ctl.arg("--output").arg(&file));
    assert_eq!(code(&output), 75);
    assert_eq!(samples(&fs::read_to_string(&file).unwrap()), BTreeMap::from([("pixeld_up", "0")]));
}

#[test]
fn output_file_is_never_partial() {
    let daemon = Daemon::start("workers = 2");
    let file = daemon.folder().join("pixeld.prom");
    let write = || {
        let mut ctl = Command::new("sh");
        ctl.args(["-c", "umask 077; exec \"$0\" stats --prometheus --output \"$1\"", PIXELDCTL]).arg(&file);
        text(&captured(ctl.env("PIXELDCTL_SOCKET", daemon.control_socket())));
    };
    write();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "node_exporter has a user of its own");
    let lines = fs::read_to_string(&file).unwrap().lines().count();

    let done = AtomicBool::new(false);
    let reads = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Relaxed) {
                let text = fs::read_to_string(&file).unwrap();
                assert_eq!(text.lines().count(), lines, "{text}");
                reads += 1;
            }
            reads
        });
        for _ in 0..20 {
            write();
        }
        done.store(true, Relaxed);
        reader.join().unwrap()
    });
    assert!(reads > 20, "read {reads} times");
    let names: Vec<_> =
        fs::read_dir(daemon.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{names:?}");
}

#[test]
fn unwritable_file_error_has_its_path() {
    let daemon = Daemon::start("");
    let output = daemon.ctl(&["stats", "--prometheus", "--output", "/nowhere/pixeld.prom"]);
    assert_eq!(code(&output), 74);
    let expected = "pixeldctl: cannot write /nowhere/pixeld.prom: No such file or directory (os error 2)\n\
                hint: `mkdir -p /nowhere`\n";
    assert_eq!(stderr(&output), expected);
}

#[test]
fn full_disk_is_reported_and_keeps_the_file() {
    let daemon = Daemon::start("");
    let small = daemon.folder().join("small");
    fs::create_dir(&small).unwrap();
    let script = "mount -t tmpfs -o size=4k small \"$1\" && echo old > \"$1/p\" || exit 1\n\
                  \"$0\" stats --prometheus --output \"$1/p\"\ncode=$?; cat \"$1/p\"; exit $code";
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "sh", "-c", script, PIXELDCTL]).arg(&small);
    let output = captured(unshare.env("PIXELDCTL_SOCKET", daemon.control_socket()));
    assert_eq!((code(&output), stdout(&output).as_str()), (74, "old\n"), "{output:?}");
    let expected = format!(
        "pixeldctl: cannot write {}/p: No space left on device (os error 28)\nhint: free space there",
        small.display()
    );
    assert!(stderr(&output).starts_with(&expected), "{output:?}");
}

/// As another user can make one in a sticky folder such as /tmp.
#[test]
fn link_at_the_output_path_is_replaced() {
    let daemon = Daemon::start("");
    let sticky = daemon.folder().join("sticky");
    fs::create_dir(&sticky).unwrap();
    fs::set_permissions(&sticky, fs::Permissions::from_mode(0o1777)).unwrap();
    let write = |path: &Path| daemon.ctl(&["stats", "--prometheus", "--output", path.to_str().unwrap()]);
    let (precious, nothing) = (daemon.folder().join("precious"), daemon.folder().join("nothing"));
    fs::write(&precious, "old").unwrap();
    for (name, target) in
        [("a.prom", &precious), ("b.prom", &nothing), ("c.prom", &daemon.folder().join("sticky"))]
    {
        let link = sticky.join(name);
        std::os::unix::fs::symlink(target, &link).unwrap();
        assert_eq!(code(&write(&link)), 0, "{name}");
        assert!(fs::symlink_metadata(&link).unwrap().is_file(), "{name} is a file now");
        assert!(fs::read_to_string(&link).unwrap().contains("pixeld_up 1"));
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "old");
    assert!(!nothing.exists());
}

#[test]
fn output_to_a_device_works_but_not_by_a_link() {
    let daemon = Daemon::start("");
    let write = |path: &str| daemon.ctl(&["stats", "--prometheus", "--output", path]);
    let output = write("/dev/full");
    assert_eq!(code(&output), 74);
    assert!(
        stderr(&output).contains("No space left") && stderr(&output).contains("hint: free space"),
        "{output:?}"
    );
    assert!(!fs::metadata("/dev/full").unwrap().is_file());
    let link = daemon.folder().join("null");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    assert_eq!(code(&write(link.to_str().unwrap())), 74);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(stdout(&write("-")).contains("pixeld_up 1"));
}

// --- a daemon that systemd would start ---

#[test]
fn inactive_unit_is_not_connected_to() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let ask = |systemctl: &str, options: &[&str]| {
        script(folder.path(), "systemctl", systemctl);
        let mut ctl = Command::new(PIXELDCTL);
        ctl.env_clear().env("PATH", folder.path()).arg("--socket").arg(&socket);
        ctl.args(["stats", "--prometheus", "--if-active", "pixeld.service"]);
        captured(ctl.args(options))
    };
    let right_question = "[ \"$*\" = '--quiet is-active -- pixeld.service' ] || exit 1\n";
    for code_of_systemctl in [3, 4] {
        let output = ask(&format!("{right_question}exit {code_of_systemctl}"), &[]);
        assert_eq!(code(&output), 69);
        assert!(stdout(&output).contains("\npixeld_up 0\n"), "{}", stdout(&output));
        assert!(stderr(&output).contains("pixeld.service is not active"), "{}", stderr(&output));
    }
    let file = folder.path().join("pixeld.prom");
    assert_eq!(code(&ask("exit 3", &["--output", file.to_str().unwrap()])), 0);
    let broken = ask("echo no bus >&2; exit 1", &["--output", file.to_str().unwrap()]);
    assert_eq!(code(&broken), 71);
    assert!(stderr(&broken).contains("no bus"), "{}", stderr(&broken));
    let untouched = listener.accept().map(drop).unwrap_err();
    assert_eq!(untouched.kind(), io::ErrorKind::WouldBlock);

    listener.set_nonblocking(false).unwrap();
    let hang_up = thread::spawn(move || drop(listener.accept().unwrap()));
    let asked = ask(&format!("{right_question}exit 0"), &[]);
    assert_eq!(code(&asked), 75, "an active one is asked: {}", stderr(&asked));
    hang_up.join().unwrap();
}
