//! pixeldctl looks for a daemon, and may find none, or none that it may ask.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::Command,
};

use nix::sys::{
    signal::Signal,
    socket::{Backlog, listen},
};

use super::assert_fails;
use crate::support::{Daemon, PIXELDCTL, Setup, captured, code, ctl, stderr};

#[test]
fn running_daemon_is_found_without_option() {
    // This host may have a pixeld of its own in /run.
    const WITH_EMPTY_RUN: &str = "mount -t tmpfs tmpfs /run && exec \"$0\" \"$@\"";
    let daemon = Daemon::start("workers = 2");
    let ctl = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", WITH_EMPTY_RUN, PIXELDCTL]);
        captured(command.args(arguments).env("XDG_RUNTIME_DIR", daemon.folder()))
    };
    assert_eq!(code(&ctl(&["stats"])), 0);
    assert_eq!(code(&ctl(&["workers", "3"])), 0);
    assert_eq!(daemon.stats()["workers"], 3);
}

#[test]
fn missing_daemon_is_reported() {
    let mut daemon = Daemon::start("");
    let path = daemon.admin_socket();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    // First the socket is left behind, then it is gone.
    for _ in 0..2 {
        let output = daemon.ctl(&["stats"]);
        assert_fails(
            &output,
            69,
            &format!("pixeld is not running: no process listens at {}", path.display()),
        );
        assert_fails(&output, 69, "systemctl start pixeld");
        let _ = fs::remove_file(&path);
    }
}

#[test]
fn missing_admin_socket_is_not_a_missing_daemon() {
    let setup = Setup::new("");
    let moved = setup.folder().join("pixeld/other.sock");
    let listener = UnixListener::bind(&moved).unwrap();
    let daemon = setup.socket("admin", listener).start();
    let (control, admin) = (daemon.control_socket(), daemon.admin_socket());
    let answers = |place: &Path| {
        let (control, place) = (control.display(), place.display());
        format!(
            "no process listens at {}; pixeld responds at {control}, and accepts changes at {place}\n",
            admin.display()
        )
    };
    let output = daemon.ctl(&["drain"]);
    assert_fails(&output, 69, &answers(&moved));
    assert_fails(&output, 69, &format!("hint: use --socket {}\n", moved.display()));
    assert!(!stderr(&output).contains("not running"), "{output:?}");

    fs::remove_file(&moved).unwrap();
    let output = ctl(&moved, &["drain"]);
    assert_fails(&output, 69, &format!("accepts changes at {}\n", moved.display()));
    assert_fails(&output, 69, "hint: the file of the socket was removed: ");
}

#[test]
fn permission_error_names_the_group() {
    let daemon = Daemon::start("");
    let socket = daemon.admin_socket();
    let mut ctl = if nix::unistd::geteuid().is_root() {
        // Root may do everything, so somebody else tries, who has to be able to get there.
        // cp copies, for a file that this process had open for writing might still be so in a child of
        // another test, and could not be run.
        let program = daemon.folder().join("pixeldctl");
        assert!(Command::new("cp").arg(PIXELDCTL).arg(&program).status().unwrap().success());
        fs::set_permissions(daemon.folder(), Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        command
    } else {
        fs::set_permissions(&socket, Permissions::from_mode(0o000)).unwrap();
        Command::new(PIXELDCTL)
    };
    let output = captured(ctl.arg("stats").arg("--socket").arg(&socket));
    assert_fails(&output, 77, &format!("no permission to connect to {}", socket.display()));
    // The group of a socket that no unit has opened is that of the user who started pixeld.
    assert_fails(&output, 77, "hint: use sudo, or run it as user ");
}

#[test]
fn non_socket_is_reported_and_address_is_a_path() {
    let daemon = Daemon::start("");
    let file = daemon.config_file();
    let output = ctl(&file, &["stats"]);
    assert_fails(&output, 64, &format!("{} is not a socket", file.display()));
    let address = format!("unix:{}", daemon.control_socket().display());
    assert_eq!(code(&ctl(Path::new(&address), &["stats"])), 0);
}

#[test]
fn silent_daemon_times_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let _silent = UnixListener::bind(&path).unwrap();
    let output = captured(
        Command::new(PIXELDCTL).env_clear().args(["stats", "--timeout", "200ms", "--socket"]).arg(&path),
    );
    assert_fails(&output, 75, "no response within 200ms");
}

#[test]
fn full_control_backlog_is_reported_as_busy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    let output = ctl(&path, &["stats"]);
    assert_fails(&output, 75, &format!("{} accepts no connection: its queue is full", path.display()));
    assert_fails(&output, 75, "hint: the daemon is stalled or busy: `systemctl status pixeld`");
}
