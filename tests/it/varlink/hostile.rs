//! Attacks on the control sockets. What members of the read-only group send costs one thread, which nothing
//! else waits for: changes, signals and the watchdog go on.

use std::{
    io::{self, IoSlice, Read, Write},
    mem::MaybeUninit,
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use nix::{
    libc,
    sys::socket::{setsockopt, sockopt},
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};

use crate::support::{Daemon, Setup, Varlink, eventually};

/// Descriptors that one message can carry (SCM_MAX_FD).
const MOST_DESCRIPTORS: usize = 253;
/// The clients that a control socket serves.
const CLIENTS: usize = 64;

/// A daemon whose service manager wants a sign of life every 8 s.
fn watched_daemon() -> Daemon {
    Setup::new("workers = 1").environment("WATCHDOG_USEC", "8000000").start()
}

/// Sends the same again and again, and reads nothing, until the daemon has gone.
fn flood(socket: PathBuf, message: Vec<u8>) {
    thread::spawn(move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        while stream.write_all(&message).is_ok() {}
    });
}

fn send_with(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn process(daemon: &Daemon, figure: &str) -> u64 {
    let reply = daemon.varlink().call("io.pixeld.Control.GetStats", &json!({}));
    reply["parameters"]["stats"]["process"][figure].as_u64().unwrap()
}

/// A change is made, requests are answered, and the service manager hears of it.
fn assert_operable(daemon: &Daemon) {
    let mut varlink = daemon.varlink();
    for method in ["Drain", "Resume"] {
        let reply = varlink.call(&format!("io.pixeld.Control.{method}"), &json!({}));
        assert_eq!(reply["parameters"]["already"], false, "{reply}");
    }
    daemon.wait_for_notice("WATCHDOG=1");
}

#[test]
fn oneway_flood_blocks_no_change_and_no_signal() {
    let mut daemon = watched_daemon();
    for method in ["io.pixeld.Control.GetStats", "io.pixeld.Control.Nope", "org.varlink.service.GetInfo"] {
        let call = json!({ "method": method, "oneway": true }).to_string() + "\0";
        flood(daemon.control_socket(), call.repeat(1000).into_bytes());
    }
    for _ in 0..3 {
        assert_operable(&daemon);
    }
    let mut reader = Varlink::connect(&daemon.control_socket());
    assert_eq!(reader.call("io.pixeld.Control.GetStats", &json!({}))["parameters"]["stats"]["workers"], 1);
    assert!(daemon.stop().success());
}

#[test]
fn admin_flood_blocks_no_signal() {
    let mut daemon = watched_daemon();
    for method in ["GetStats", "Resume"] {
        let call = format!("{{\"method\":\"io.pixeld.Control.{method}\",\"oneway\":true}}\0");
        flood(daemon.admin_socket(), call.repeat(1000).into_bytes());
    }
    for _ in 0..3 {
        daemon.wait_for_notice("WATCHDOG=1");
    }
    assert!(daemon.stop().success());
}

/// A client that has sent this before the daemon starts: no kernel can reject it on the daemon's behalf.
fn send_before_start(
    folder: &Path,
    name: &str,
    descriptors: &[BorrowedFd<'_>],
) -> (UnixListener, UnixStream) {
    let path = folder.join(format!("{name}.sock"));
    let listener = UnixListener::bind(&path).unwrap();
    let stream = UnixStream::connect(&path).unwrap();
    for _ in 0..4 {
        send_with(&stream, b" ", descriptors).unwrap();
    }
    (listener, stream)
}

#[test]
fn descriptors_of_an_unfinished_message_are_not_kept() {
    let setup = Setup::new("workers = 1");
    let descriptor = io::stdin();
    let descriptors = [descriptor.as_fd(); 200];
    let (control, _reader) = send_before_start(setup.folder(), "control", &descriptors);
    let (admin, _operator) = send_before_start(setup.folder(), "admin", &descriptors);
    let path = setup.folder().join("admin.sock");
    let daemon = setup.socket("control", control).socket("admin", admin).start();
    let used = |varlink: &mut Varlink| {
        let reply = varlink.call("io.pixeld.Control.GetStats", &json!({}));
        reply["parameters"]["stats"]["process"]["descriptorsUsed"].as_u64().unwrap()
    };
    // Both clients have been accepted before this one, and what they had sent was there.
    let used = used(&mut Varlink::connect(&path));
    assert!(used < 100, "{used} descriptors: {}", daemon.log());
}

/// A TCP connection whose close(2) waits for a peer that reads nothing.
fn lingering() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (receiver, _) = listener.accept().unwrap();
    sender.set_nonblocking(true).unwrap();
    let bytes = vec![0; 1 << 16];
    while sender.write(&bytes).is_ok() {}
    sender.set_nonblocking(false).unwrap();
    let linger = libc::linger { l_onoff: 1, l_linger: 60 };
    setsockopt(&sender, sockopt::Linger, &linger).unwrap();
    (sender, receiver)
}

#[test]
fn lingering_descriptor_blocks_no_change() {
    let setup = Setup::new("workers = 1").environment("WATCHDOG_USEC", "8000000");
    let (sender, _receiver) = lingering();
    let (control, _reader) = send_before_start(setup.folder(), "control", &[sender.as_fd()]);
    // The last copy is the one that was sent.
    drop(sender);
    let mut daemon = setup.socket("control", control).start();
    for _ in 0..3 {
        assert_operable(&daemon);
    }
    assert!(daemon.stop().success());
}

#[test]
fn long_names_are_shortened_in_replies() {
    let daemon = Daemon::start("workers = 1");
    let long = "ä".repeat(30_000);
    let mut varlink = Varlink::connect(&daemon.control_socket());
    let control = |method: &str| format!("io.pixeld.Control.{method}");
    let no_parameters = || json!({});
    for (method, parameters, field) in [
        (control(&long), no_parameters(), "method"),
        (format!("{long}.Nope"), no_parameters(), "interface"),
        (control("GetStats"), json!({ long.clone(): 1 }), "parameter"),
        (control("WatchStats"), json!({ "intervalMs": long }), "reason"),
        ("org.varlink.service.GetInterfaceDescription".into(), json!({ "interface": long }), "interface"),
    ] {
        let call = json!({ "method": method, "parameters": parameters, "more": true });
        varlink.send(call.to_string() + "\0").unwrap();
        let reply = varlink.reply().unwrap();
        assert!(reply["error"].is_string(), "{reply}");
        let repeated = reply["parameters"][field].as_str().unwrap();
        assert!(repeated.contains('…') && repeated.len() < 1200, "{} bytes: {repeated}", repeated.len());
    }
}

#[test]
fn call_over_64_kib_closes_its_connection() {
    let daemon = Daemon::start("workers = 1");
    let mut call = b"{\"method\":\"io.pixeld.Control.GetWorkers\"}".to_vec();
    call.resize(64 << 10, b' ');
    let mut varlink = Varlink::connect(&daemon.control_socket());
    varlink.send([&call[..], b"\0"].concat()).unwrap();
    assert_eq!(varlink.reply().unwrap()["parameters"]["configured"], 1);
    // It may be cut off before all of it is sent.
    let _ = varlink.send([&call[..], b" \0"].concat());
    assert_eq!(varlink.reply(), None);
}

#[test]
fn unfinished_messages_have_bounded_memory() {
    const MOST: u64 = ((2 * CLIENTS as u64 * 64) << 10) + (2 << 20);

    let daemon = Daemon::start("workers = 1");
    let before = process(&daemon, "memoryBytes");
    let unfinished = vec![b' '; 60 << 10];
    let connect = |socket: PathBuf| {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&unfinished).unwrap();
        // A daemon that takes more than it says may have it.
        for _ in 0..15 {
            let _ = stream.write(&unfinished);
        }
        stream
    };
    let sockets = [daemon.control_socket(), daemon.admin_socket()];
    let clients: Vec<_> = sockets
        .into_iter()
        .flat_map(|socket| std::iter::repeat_n(socket, CLIENTS - 4))
        .map(connect)
        .collect();
    let taken = process(&daemon, "memoryBytes").saturating_sub(before);
    assert!(taken < MOST, "{taken} bytes for {} clients", clients.len());
}

#[test]
fn watchdog_is_fed_without_free_descriptors() {
    let daemon = watched_daemon();
    // None is left that is not open already.
    let limited = Command::new("prlimit")
        .args(["--nofile=3:", "--pid", &daemon.pid().to_string()])
        .status()
        .expect("prlimit of util-linux");
    assert!(limited.success());
    // One may have been sent before that.
    for _ in 0..3 {
        daemon.wait_for_notice("WATCHDOG=1");
    }
}

/// Connects as many clients as there are places, each of which then calls something.
fn take_all_places(socket: &Path) -> Vec<Varlink> {
    let connect = |_| {
        let mut varlink = Varlink::connect(socket);
        varlink.call("org.varlink.service.GetInfo", &json!({}));
        varlink
    };
    (0..CLIENTS).map(connect).collect()
}

#[test]
fn evicted_client_gets_the_reason() {
    let daemon = Daemon::start("workers = 1");
    let mut first = Varlink::connect(&daemon.control_socket());
    first.call("org.varlink.service.GetInfo", &json!({}));
    let others = take_all_places(&daemon.control_socket());
    let error: Value =
        json!({ "error": "io.pixeld.Control.TooManyClients", "parameters": { "limit": CLIENTS } });
    assert_eq!(first.reply(), Some(error));
    assert_eq!(first.reply(), None);
    drop(others);
}

#[test]
fn pixeldctl_reports_its_eviction() {
    let daemon = Daemon::start("workers = 1");
    let mut watcher = Command::new(crate::support::PIXELDCTL)
        .args(["events", "--follow", "--socket"])
        .arg(daemon.control_socket())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first_line = [0; 1];
    watcher.stdout.as_mut().unwrap().read_exact(&mut first_line).unwrap();
    let others = take_all_places(&daemon.control_socket());
    eventually("pixeldctl has ended", || watcher.try_wait().unwrap());
    let output = watcher.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("64 clients"), "{output:?}");
    drop(others);
}

#[test]
fn unread_streams_have_bounded_memory() {
    let daemon = Daemon::start("workers = 1");
    let before = process(&daemon, "memoryBytes");
    let watch = b"{\"method\":\"io.pixeld.Control.WatchEvents\",\"more\":true}\0";
    let silent: Vec<_> = (0..CLIENTS / 2)
        .map(|_| {
            let mut stream = UnixStream::connect(daemon.control_socket()).unwrap();
            stream.write_all(watch).unwrap();
            stream
        })
        .collect();
    let mut varlink = daemon.varlink();
    for count in 0..500 {
        let level = if count % 2 == 0 { "warn" } else { "info" };
        varlink.call("io.pixeld.Control.SetLogLevel", &json!({ "level": level }));
    }
    let taken = process(&daemon, "memoryBytes").saturating_sub(before);
    assert!(taken < 16 << 20, "{taken} bytes for {} clients", silent.len());
    let mut reader = Varlink::connect(&daemon.control_socket());
    assert!(reader.call("io.pixeld.Control.GetEvents", &json!({}))["parameters"]["events"].is_array());
}
