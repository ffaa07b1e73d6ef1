//! Descriptors that clients pass to Unix sockets (SCM_RIGHTS). Closing one may take as long as its sender chose.

use std::{
    fs,
    io::{IoSlice, Read, Write},
    mem::MaybeUninit,
    net::{TcpListener, TcpStream},
    os::{
        fd::AsFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    time::Duration,
};

use nix::{
    libc::{self, c_int},
    sys::{signal::Signal, socket::SetSockOpt, stat::fstat},
};
use rustix::{
    io::{Errno, ioctl_fionbio},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt::set_socket_linger},
};

use crate::support::{Client, Daemon, ECHO, PATIENCE, PIXEL, Setup, eventually, post};

/// `SO_PASSRIGHTS` (asm-generic/socket.h), which libc does not have yet.
const SO_PASSRIGHTS: c_int = 83;

#[derive(Clone, Copy)]
struct PassRights;

nix::setsockopt_impl!(PassRights, libc::SOL_SOCKET, SO_PASSRIGHTS, bool, nix::sys::socket::sockopt::SetBool);

/// Whether this kernel has SO_PASSRIGHTS; without it, the mode of the socket's file is what protects.
fn kernel_rejects() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    version >= (6, 16)
}

/// A connection whose last close(2) waits for a minute: it has unsent data and a peer that reads nothing.
struct SlowToClose {
    stream: TcpStream,
    _listener: TcpListener,
}

impl SlowToClose {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set_socket_linger(&stream, Some(Duration::from_secs(60))).unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 8_192]).is_ok() {}
        Self { stream, _listener: listener }
    }
}

impl Drop for SlowToClose {
    fn drop(&mut self) {
        // A program that another test starts meanwhile has a copy until execve(2), which may be the last.
        set_socket_linger(&self.stream, None).unwrap();
    }
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
        let slow = SlowToClose::new();
        assert_eq!(pass(&client, &slow.stream), Err(Errno::PERM), "{}", socket.display());
    }
}

fn assert_served(daemon: &Daemon, http: &Path) {
    assert_eq!(Client::unix(http).ask(post(PIXEL)).body, ECHO);
    assert!(daemon.stats()["requests"]["ok"].as_u64().unwrap() > 0);
}

#[test]
fn descriptors_sent_to_own_sockets_are_rejected() {
    if !kernel_rejects() {
        eprintln!("skipped: this kernel has no SO_PASSRIGHTS");
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
        eprintln!("skipped: this kernel has no SO_PASSRIGHTS");
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
        let slow = SlowToClose::new();
        assert_eq!(pass(client, &slow.stream), Err(Errno::PERM), "{}", served.display());
    }
    for socket in [&http, &admin] {
        assert_rejected(socket);
    }
    assert_served(&daemon, &http);
}

/// What this listener passes on to clients that connect is what a kernel before 6.16 gives them.
fn accept_descriptors(listener: &UnixListener) {
    if kernel_rejects() {
        PassRights.set(listener, &true).unwrap();
    }
}

/// How many descriptors of the daemon are of this pipe.
fn copies(daemon: &Daemon, pipe: &impl AsFd) -> usize {
    let name = format!("pipe:[{}]", fstat(pipe).unwrap().st_ino);
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    // One of another client may have been closed since.
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    targets.filter(|target| *target == Path::new(&name)).count()
}

/// Sends the rest of a request whose first byte came with a descriptor.
fn assert_completed(mut client: &UnixStream) {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(&post(PIXEL)[..1], "P");
    client.write_all(&post(PIXEL).as_bytes()[1..]).unwrap();
    let mut response = Vec::new();
    while !response.ends_with(ECHO.as_bytes()) {
        let mut received = [0; 4096];
        let length = client.read(&mut received).unwrap();
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&response));
        response.extend(&received[..length]);
    }
}

/// On a kernel before 6.16, this is how descriptors arrive at any time.
#[test]
fn descriptors_sent_before_accept_are_closed() {
    let setup = Setup::new("workers = 2");
    let http = setup.folder().join("http.sock");
    let listener = UnixListener::bind(&http).unwrap();
    let copy = listener.try_clone().unwrap();
    let daemon = setup.socket("http", listener).start();
    assert_served(&daemon, &http);
    accept_descriptors(&copy);

    daemon.freeze();
    // More than there are workers.
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let client = UnixStream::connect(&http).unwrap();
            let (reader, writer) = std::io::pipe().unwrap();
            assert_eq!(pass(&client, &writer), Ok(1), "what the listener has at connect(2) counts");
            ioctl_fionbio(&reader, true).unwrap();
            (client, reader)
        })
        .collect();
    daemon.signal(Signal::SIGCONT);

    // Connections are accepted in the order of their coming.
    assert_served(&daemon, &http);
    for (client, reader) in &clients {
        let mut reader = reader;
        eventually("no copy of the descriptor is left", || reader.read(&mut [0]).ok());
        assert_completed(client);
        assert_eq!(copies(&daemon, reader), 0);
        if kernel_rejects() {
            assert_eq!(pass(client, &reader), Err(Errno::PERM), "accepted, it has an option of its own");
        }
    }
    assert_served(&daemon, &http);
}
