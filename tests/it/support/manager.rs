use std::{
    io::IoSliceMut,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::Path,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use nix::sys::stat::fstat;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// What the service manager of a test does with what it is told.
#[derive(Clone, Copy, Default)]
pub struct ManagerBehavior {
    /// Keeps the connections that a daemon leaves for the next one; otherwise the daemon finds that
    /// nobody does.
    pub keeps_connections: bool,
    /// So long it takes to say that it has dealt with everything (`BARRIER=1`).
    pub slowness: Duration,
}

/// What is kept for the next daemon, with its names. As with systemd the newest comes first, and this is
/// the order in which it is passed.
#[derive(Clone, Default)]
pub struct Store {
    kept: Arc<Mutex<Vec<(String, OwnedFd)>>>,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Store {
    /// What is kept under this name.
    pub fn get(&self, name: &str) -> Vec<OwnedFd> {
        let kept = self.kept.lock().unwrap();
        kept.iter().filter(|(kept, _)| kept == name).map(|(_, file)| file.try_clone().unwrap()).collect()
    }

    /// Keeps it, unless it is there already.
    pub fn add(&self, name: &str, file: OwnedFd) {
        let mut kept = self.kept.lock().unwrap();
        if !kept.iter().any(|(_, other)| identity(other) == identity(&file)) {
            kept.insert(0, (name.into(), file));
        }
    }

    /// Every notification so far.
    pub fn notices(&self) -> Vec<String> {
        self.notices.lock().unwrap().clone()
    }

    fn remove(&self, name: &str) {
        self.kept.lock().unwrap().retain(|(kept, _)| kept != name);
    }
}

fn identity(file: &impl AsFd) -> (u64, u64) {
    let file = fstat(file).unwrap();
    (file.st_dev, file.st_ino)
}

/// Takes notifications at once, as systemd does: a daemon that nobody listens to would wait. Ends with an
/// empty one.
pub fn listen(path: &Path, behavior: ManagerBehavior, store: Store) -> Receiver<String> {
    let socket = UnixDatagram::bind(path).unwrap();
    let (sender, notices) = channel();
    thread::spawn(move || while take(&socket, behavior, &store, &sender).is_some() {});
    notices
}

fn take(
    socket: &UnixDatagram,
    behavior: ManagerBehavior,
    store: &Store,
    sender: &Sender<String>,
) -> Option<()> {
    let mut datagram = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut passed = RecvAncillaryBuffer::new(&mut space);
    let pieces = &mut [IoSliceMut::new(&mut datagram)];
    let received = recvmsg(socket, pieces, &mut passed, RecvFlags::CMSG_CLOEXEC).ok()?;
    let files: Vec<_> = passed
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        })
        .flatten()
        .collect();
    let notice = String::from_utf8_lossy(&datagram[..received.bytes]).into_owned();
    store.notices.lock().unwrap().push(notice.clone());
    let has = |line| notice.lines().any(|one| one == line);
    if has("BARRIER=1") {
        // It is answered when this is closed.
        thread::spawn(move || {
            thread::sleep(behavior.slowness);
            drop(files);
        });
        return sender.send(notice).ok();
    }
    if let Some(name) = notice.lines().find_map(|line| line.strip_prefix("FDNAME=")) {
        if has("FDSTOREREMOVE=1") {
            store.remove(name);
        } else if behavior.keeps_connections || name != "connections" {
            for file in files {
                store.add(name, file);
            }
        }
    }
    if notice.is_empty() { None } else { sender.send(notice).ok() }
}
