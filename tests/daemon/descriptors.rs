//! Descriptors that clients pass to Unix sockets (SCM_RIGHTS). Closing one may take as long as its sender chose.

use std::{
    fs,
    io::{IoSlice, Write},
    mem::MaybeUninit,
    net::{TcpListener, TcpStream},
    os::{
        fd::AsFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt::set_socket_linger},
};

use crate::support::{Client, Daemon, ECHO, PIXEL, Setup, post};

/// Whether this kernel has SO_PASSRIGHTS; without it, the mode of the socket's file is what protects.
fn kernel_rejects() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    version >= (6, 16)
}

/// A connection whose last close(2) waits for a minute: it has unsent data and a peer that reads nothing.
fn slow_to_close() -> (TcpStream, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    set_socket_linger(&stream, Some(Duration::from_secs(60))).unwrap();
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[0; 8_192]).is_ok() {}
    (stream, listener)
}

/// Sends one byte with a descriptor.
fn pass(to: &UnixStream, passed: &impl AsFd) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let passed = [passed.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&passed)));
    sendmsg(to, &[IoSlice::new(b"P")], &mut control, SendFlags::NOSIGNAL)
}

fn assert_rejected(socket: &Path) {
    // More than there are workers.
    for _ in 0..8 {
        let client = UnixStream::connect(socket).unwrap();
        let (passed, _peer) = slow_to_close();
        assert_eq!(pass(&client, &passed), Err(Errno::PERM), "{}", socket.display());
    }
}

fn assert_served(daemon: &Daemon, http: &Path) {
    assert_eq!(Client::unix(http).ask(post(PIXEL)).body, ECHO);
    assert!(daemon.stats()["requests"]["ok"].as_u64().unwrap() > 0);
}

#[test]
fn descriptors_sent_to_own_sockets_are_rejected() {
    if !kernel_rejects() {
        return;
    }
    let daemon = Daemon::start("workers = 2");
    for socket in [daemon.http_socket(), daemon.control_socket(), daemon.admin_socket()] {
        assert_rejected(&socket);
    }
    assert_served(&daemon, &daemon.http_socket());
}

#[test]
fn descriptors_sent_to_inherited_sockets_are_rejected() {
    if !kernel_rejects() {
        return;
    }
    let setup = Setup::new("workers = 2");
    let [http, admin] = ["http.sock", "pixeld/admin.sock"].map(|name| setup.folder().join(name));
    let sockets = [&http, &admin].map(|path| UnixListener::bind(path).unwrap());
    // These connect before the listeners have the option, so they do not inherit it from them.
    let early = [&http, &admin].map(|path| UnixStream::connect(path).unwrap());
    let [http_listener, admin_listener] = sockets;
    let daemon = setup.socket("http", http_listener).socket("admin", admin_listener).start();
    assert_served(&daemon, &http);
    for (client, served) in early.iter().zip([&http, &admin]) {
        // Connections are accepted in the order of their coming, and one that came later was served.
        let (passed, _peer) = slow_to_close();
        assert_eq!(pass(client, &passed), Err(Errno::PERM), "{}", served.display());
    }
    for socket in [&http, &admin] {
        assert_rejected(socket);
    }
    assert_served(&daemon, &http);
}
