//! Networks of their own for each test: nothing in them reaches the machine's real network, and
//! the kernel takes them down as soon as no process uses them, however the test ended.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace without a name, held open by a descriptor.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// A network namespace with only a loopback interface.
    pub fn new() -> Self {
        let create = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("create a network namespace; is this root?");
            File::open("/proc/thread-self/ns/net").expect("open the network namespace")
        };
        let namespace = Self(in_new_thread(create));
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs a closure on a new thread inside. Sockets that it opens stay in the namespace.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        in_new_thread(|| {
            self.join();
            inside()
        })
    }

    /// Moves the calling thread, and the processes it starts from now on, inside for good.
    pub fn join(&self) {
        setns(&self.0, CloneFlags::CLONE_NEWNET).expect("enter a network namespace");
    }

    /// The namespace's inode, as it appears in `/proc/PID/ns/net`.
    pub fn inode(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        self.0.metadata().expect("stat a network namespace").ino()
    }

    /// Runs lines of `ip -batch` inside.
    fn ip(&self, lines: &str) {
        self.enter(|| {
            let mut ip = Command::new("ip")
                .args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("start ip");
            let mut input = ip.stdin.take().expect("ip's standard input is a pipe");
            input.write_all(lines.as_bytes()).expect("write to ip");
            drop(input);
            let output = ip.wait_with_output().expect("wait for ip");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "ip -batch: {stderr}\n{lines}");
        });
    }
}

/// A switch that hosts and clients are plugged into. Dropping it takes their interfaces away.
#[derive(Debug)]
pub struct Network {
    switch: Namespace,
    ports: AtomicUsize,
}

impl Network {
    /// A switch with nothing plugged in.
    pub fn new() -> Self {
        let switch = Namespace::new();
        switch.ip("link add br0 type bridge\nlink set br0 up");
        Self { switch, ports: AtomicUsize::new(0) }
    }

    /// Connects a namespace with a new interface there, which is up and has the address (`A.B.C.D/N`).
    pub fn attach(&self, namespace: &Namespace, interface: &str, address: &str) {
        let port = format!("port{}", self.ports.fetch_add(1, Ordering::Relaxed));
        let peer = format!("/proc/{}/fd/{}", std::process::id(), namespace.0.as_raw_fd());
        self.switch.ip(&format!(
            "link add {port} type veth peer name {interface} netns {peer}\n\
             link set {port} master br0 up"
        ));
        namespace.ip(&format!("addr add {address} dev {interface}\nlink set {interface} up"));
    }
}

/// Runs a closure on a new thread, and passes its panic on.
fn in_new_thread<T: Send>(closure: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(closure).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
