//! What a new process takes over: connections as far as it can, and counters of any version.

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    net::{TcpListener, UdpSocket},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use nix::sys::stat::fstat;
use pixeld::stats::{Outcome, SharedStats};
use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    io::{pread, pwrite},
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
        sendmsg, socketpair,
    },
};
use serde_json::{Value, json};

use super::{PATIENT, connections, start, stop_within_bound, wait_until_busy};
use crate::support::{Client, Daemon, ECHO, PIXEL, Setup, post, stdout};

#[test]
fn handoff_above_the_fd_limit_hangs_no_client() {
    let first = start(PATIENT);
    let mut idle: Vec<_> = (0..60).map(|_| first.client()).collect();
    for client in &mut idle {
        assert_eq!(client.ask(post(PIXEL)).body, ECHO);
    }
    // They fill more than one message.
    let request = post(&format!("{}{PIXEL}", " ".repeat(1500)));
    let (begin, rest) = request.split_at(request.len() - 10);
    let mut slow: Vec<_> = (0..60).map(|_| first.client()).collect();
    for client in &mut slow {
        client.send(begin);
    }
    wait_until_busy(&first, 60);
    let mut first = first;
    stop_within_bound(&mut first);
    first.wait_for_event("stopped", &[("handed_off", "120")]);
    let second = Setup::new("workers = 1")
        .keeping_connections()
        .before("ulimit -n 100")
        .socket("counters", first.stored("counters"))
        .socket("connections", first.stored("connections"))
        .start();
    // Nobody else has them, as systemd has closed its own by now.
    drop(first);
    let whole = post(PIXEL);
    let clients = idle.iter_mut().map(|client| (client, whole.as_str()));
    let clients = clients.chain(slow.iter_mut().map(|client| (client, rest)));
    let answered = clients.map(|(client, request)| u64::from(client.is_answered(request))).sum::<u64>();
    assert!((1..100).contains(&answered), "{answered}");
    assert_eq!(connections(&second)["adopted"], answered);
    second.wait_for_event("connectionsAdopted", &[("connections", &answered.to_string())]);
    let failed = second.wait_for_event("adoptFailed", &[("connections", &(120 - answered).to_string())]);
    assert!(failed.text.contains("open-file limit is 100"), "{failed:?}");
}

/// A stored socket with these messages: what they begin with, for how many connections, and their sockets.
fn stored_messages(messages: &[(&[u8; 8], &[BorrowedFd<'_>])]) -> OwnedFd {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    for (format, sockets) in messages {
        let bytes = [format.as_slice(), &vec![0; 16 * sockets.len()]].concat();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut passed = SendAncillaryBuffer::new(&mut space);
        passed.push(SendAncillaryMessage::ScmRights(sockets));
        sendmsg(&near, &[IoSlice::new(&bytes)], &mut passed, SendFlags::NOSIGNAL).unwrap();
    }
    far
}

#[test]
fn only_connections_are_adopted_and_none_blocks() {
    const OURS: &[u8; 8] = b"pxho\0\0\0\x01";
    let pairs = [(); 6].map(|()| UnixStream::pair().unwrap());
    let [one, two, other, another, three, four] = pairs.each_ref().map(|(near, _)| near.as_fd());
    let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = stored_messages(&[
        (OURS, &[one, datagram.as_fd(), two]),
        (b"pxho\0\0\0\x02", &[other, another]),
        (OURS, &[three, listener.as_fd(), four]),
    ]);
    let mut clients = pairs.map(|(near, far)| {
        drop(near);
        Client::connected(far)
    });
    let daemon = Setup::new("workers = 1").keeping_connections().socket("connections", far).start();
    for _ in 0..2 {
        for i in [0, 1, 4, 5] {
            assert_eq!(clients[i].ask(post(PIXEL)).body, ECHO);
        }
    }
    for i in [2, 3] {
        assert!(!clients[i].is_answered(post(PIXEL)));
    }
    assert_eq!(daemon.client().ask(post(PIXEL)).body, ECHO);
    daemon.wait_for_event("connectionsAdopted", &[("connections", "4")]);
    // Two of another format, a socket of another type and one that is not connected.
    let mut failed: Vec<_> =
        daemon.logged("adoptFailed").iter().map(|line| line.field("connections").to_owned()).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["1", "1", "2"], "{}", daemon.log());
}

/// Makes these counters those of another version, which counts other things in the same number of bytes or in
/// more, with what every version finds at their begin.
fn other_layout(counters: &OwnedFd, bytes: Option<u64>) -> OwnedFd {
    let mut begin = [0; 64];
    assert_eq!(pread(counters, &mut begin, 0).unwrap(), begin.len());
    let layout = u64::from_ne_bytes(begin[..8].try_into().unwrap());
    begin[..8].copy_from_slice(&(layout + 1).to_ne_bytes());
    let other = memfd_create("other-counters", MemfdFlags::CLOEXEC).unwrap();
    let size = u64::try_from(fstat(counters).unwrap().st_size).unwrap();
    ftruncate(&other, bytes.unwrap_or(size)).unwrap();
    pwrite(&other, &begin, 0).unwrap();
    other
}

fn drained_by(daemon: &Daemon) -> Value {
    daemon.stats()["drainedBy"].clone()
}

#[test]
fn drained_state_survives_other_counter_layouts() {
    let mut first = start("");
    assert_eq!(first.client().ask(post(PIXEL)).status, 200);
    assert!(first.ctl(&["drain"]).status.success());
    let by = drained_by(&first);
    assert!(by["atUnixMs"].as_u64().unwrap() > 0, "{by}");
    assert!(first.stop().success());
    for bytes in [None, Some(1 << 12), Some(1 << 24)] {
        let counters = other_layout(&first.stored("counters"), bytes);
        let mut second = Setup::new("").keeping_connections().socket("counters", counters).start();
        assert_eq!((&second.stats()["state"], &drained_by(&second)), (&json!("drained"), &by));
        assert_eq!(second.client().ask(post(PIXEL)).status, 503);
        assert_eq!(second.stats()["process"]["starts"], 1, "it counts for itself");
        second.wait_for_event("drainedAtStart", &[]);
        // And to the version before, as far as it reads what is there.
        assert!(second.stop().success());
        let [counters]: [OwnedFd; 1] = second.all_stored("counters").try_into().unwrap();
        let third = Setup::new("").socket("counters", other_layout(&counters, bytes)).start();
        assert_eq!(drained_by(&third), by);
    }
}

#[test]
fn newest_counters_decide_whether_it_is_drained() {
    let mut drained = start("");
    assert!(drained.ctl(&["drain"]).status.success());
    assert!(drained.stop().success());
    let mut serving = start("");
    assert!(serving.stop().success());
    let kept = [&drained, &serving].map(|daemon| daemon.stored("counters"));
    let others = kept.each_ref().map(|counters| other_layout(counters, None));
    let state = |newest: &OwnedFd, older: &OwnedFd| {
        let [newest, older] = [newest, older].map(|counters| counters.try_clone().unwrap());
        let daemon = Setup::new("").socket("counters", newest).socket("counters", older).start();
        daemon.stats()["state"].clone()
    };
    assert_eq!(state(&others[0], &kept[1]), "drained");
    assert_eq!(state(&others[1], &kept[1]), "serving");
    // The state of the kept ones is changed by what each daemon finds.
    assert_eq!(state(&kept[0], &others[1]), "drained");
    assert_eq!(state(&others[1], &kept[0]), "serving");
}

/// From 2^53 on, a number of the kind that many JSON readers take has no room for each integer.
#[test]
fn counters_beyond_two_to_the_53_are_exact() {
    const COUNT: u64 = (1 << 53) + 1;
    let memory = SharedStats::create(1_700_000_000_000).unwrap();
    memory.register_worker(1);
    memory.worker(1).outcomes[Outcome::Ok as usize].add(COUNT);
    memory.worker(1).bytes_sent.add(1 << 62);
    memory.accept.accepted.add(COUNT);
    let counters = memory.as_fd().try_clone_to_owned().unwrap();
    let daemon = Setup::new("workers = 2").socket("counters", counters).start();
    assert_eq!(daemon.unix_client().ask(post(PIXEL)).body, ECHO);
    let stats = daemon.stats();
    assert_eq!(stats["requests"]["ok"], COUNT + 1);
    assert_eq!(stats["requests"]["total"], COUNT + 1);
    assert_eq!(stats["connections"]["accepted"], COUNT + 1);
    assert!(stats["bytesSent"].as_u64() > Some(1 << 62), "{stats}");
    // The rate is that of this process.
    assert!(stats["rates"]["lastMinute"].as_f64() < Some(1e6), "{stats}");
    for arguments in [&["stats"][..], &["stats", "--prometheus"], &["status"]] {
        let output = daemon.ctl(arguments);
        assert!(output.status.success(), "{output:?}");
        assert!(stdout(&output).contains(&(COUNT + 1).to_string()), "{output:?}");
    }
}
