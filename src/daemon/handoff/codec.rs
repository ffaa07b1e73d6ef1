//! Encoding of connections that are handed off: SCM_RIGHTS messages over a SOCK_SEQPACKET socket.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use bytes::Bytes;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg,
        socketpair,
    },
};

use crate::{
    connection::DetachedConnection,
    net::{FdBudget, Socket},
};

/// Maximum number of connections in a message: SCM_MAX_FD (unix(7)).
const MAX_CONNECTIONS: usize = 253;
/// Maximum size of a message without its descriptors, in bytes; it fits into the buffer of any socket.
const MAX_BYTES: usize = 64 << 10;
const _: () = assert!(FORMAT.len() + OutgoingFrame::HEADER_LEN + DetachedConnection::MAX_UNREAD <= MAX_BYTES);
/// "pxho" and the version of the format. For each connection follow the number of served requests, the number of
/// unread bytes (64 bits each, little endian), and these bytes.
const FORMAT: &[u8; 8] = b"pxho\0\0\0\x01";

/// The near end of a socket pair. Its buffer stores connections until the next process receives them. One socket
/// stores many, because systemd compares each new descriptor with all that it has stored.
#[derive(Debug)]
pub struct HandoffSender(OwnedFd);

/// Creates a sender and the socket that receives from it.
pub fn socket_pair() -> io::Result<(HandoffSender, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok((HandoffSender(near), far))
}

impl HandoffSender {
    /// Whether any process has the other end open.
    pub fn is_stored(&self) -> bool {
        let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready == 0)
    }

    /// Sends as many of these connections as the socket takes; the others stay in `connections`.
    ///
    /// # Errors
    /// When no process has the other end, its buffer is full, or too many descriptors are in flight. After all others
    /// are sent: when the unread bytes of a connection do not fit into a message.
    pub fn send(&self, connections: &mut Vec<DetachedConnection>) -> io::Result<()> {
        // Removed first, so that the others are sent.
        let too_large: Vec<_> = connections.extract_if(.., |parked| !OutgoingFrame::fits(parked)).collect();
        let sent = self.send_all(connections);
        let all_fit = too_large.is_empty();
        connections.extend(too_large);
        sent?;
        if all_fit { Ok(()) } else { Err(io::Error::other("too many unread bytes for one message")) }
    }

    fn send_all(&self, connections: &mut Vec<DetachedConnection>) -> io::Result<()> {
        while !connections.is_empty() {
            let message = OutgoingFrame::of(connections);
            let sockets: Vec<BorrowedFd<'_>> =
                connections[..message.count].iter().map(|parked| parked.socket.as_fd()).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_CONNECTIONS))];
            let mut passed = SendAncillaryBuffer::new(&mut space);
            passed.push(SendAncillaryMessage::ScmRights(&sockets));
            let flags = SendFlags::NOSIGNAL;
            sendmsg(&self.0, &[IoSlice::new(&message.bytes)], &mut passed, flags)?;
            connections.drain(..message.count);
        }
        Ok(())
    }
}

/// The bytes of a message and the number of its connections.
struct OutgoingFrame {
    bytes: Vec<u8>,
    count: usize,
}

impl OutgoingFrame {
    /// Bytes before the unread bytes of a connection.
    const HEADER_LEN: usize = 16;

    /// Whether this connection fits into a message.
    fn fits(parked: &DetachedConnection) -> bool {
        FORMAT.len() + Self::HEADER_LEN + parked.unread.len() <= MAX_BYTES
    }

    /// Encodes the first of these connections, as many as fit into one message. Each has to [fit](Self::fits).
    fn of(connections: &[DetachedConnection]) -> Self {
        let mut message = Self { bytes: FORMAT.to_vec(), count: 0 };
        for parked in connections.iter().take(MAX_CONNECTIONS) {
            if message.bytes.len() + Self::HEADER_LEN + parked.unread.len() > MAX_BYTES {
                break;
            }
            message.bytes.extend_from_slice(&(parked.requests as u64).to_le_bytes());
            message.bytes.extend_from_slice(&(parked.unread.len() as u64).to_le_bytes());
            message.bytes.extend_from_slice(&parked.unread);
            message.count += 1;
        }
        message
    }
}

/// The connections received from a stored socket.
#[derive(Debug, Default)]
pub struct ReceivedConnections {
    pub connections: Vec<DetachedConnection>,
    /// The number of closed connections by reason; 0 if the reason concerns the socket itself.
    pub closed: BTreeMap<String, u64>,
}

impl ReceivedConnections {
    fn close(&mut self, connections: usize, reason: impl Display) {
        if connections > 0 {
            *self.closed.entry(reason.to_string()).or_default() += connections as u64;
        }
    }

    /// Adds the connections of a message, up to `capacity` in all.
    fn take(&mut self, frame: IncomingFrame<'_>, capacity: usize) {
        let IncomingFrame { sockets, bytes, is_truncated } = frame;
        let Some(bytes) = bytes.strip_prefix(FORMAT) else {
            self.close(sockets.len(), "handed off in a format that this version does not read");
            return;
        };
        let (mut sockets, mut rest) = (sockets.into_iter(), bytes);
        let no_files =
            || format!("the open-file limit is {}; raise LimitNOFILE=", FdBudget::from_rlimit().limit());
        while !rest.is_empty() {
            let Some((requests, unread)) = take_entry(&mut rest) else { break };
            match sockets.next() {
                Some(_) if self.connections.len() >= capacity => self.close(1, no_files()),
                Some(socket) => match Socket::adopt(socket) {
                    Ok(socket) => {
                        let (peer, unread) = (socket.peer_address(), Bytes::copy_from_slice(unread));
                        self.connections.push(DetachedConnection {
                            unread,
                            requests,
                            ..DetachedConnection::new(socket, peer)
                        });
                    }
                    Err(error) => self.close(1, error),
                },
                // The kernel has closed sockets for which this process had no descriptor left.
                None if is_truncated => self.close(1, no_files()),
                None => self.close(1, "message without its socket"),
            }
        }
        self.close(sockets.count(), "truncated message");
    }
}

/// Receives up to `capacity` connections that a previous process has sent, and closes the others.
pub fn receive(far: &OwnedFd, capacity: usize) -> ReceivedConnections {
    let mut received = ReceivedConnections::default();
    let mut buffer = vec![0; MAX_BYTES];
    loop {
        match receive_frame(far, &mut buffer) {
            Ok(Some(frame)) => received.take(frame, capacity),
            Ok(None) => break,
            Err(error) => {
                received.closed.insert(error.to_string(), 0);
                break;
            }
        }
    }
    received
}

struct IncomingFrame<'b> {
    sockets: Vec<OwnedFd>,
    bytes: &'b [u8],
    /// Whether this process had no descriptor left for more sockets.
    is_truncated: bool,
}

/// Receives a message; `None` after the last.
fn receive_frame<'b>(far: &OwnedFd, buffer: &'b mut [u8]) -> io::Result<Option<IncomingFrame<'b>>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_CONNECTIONS))];
    let mut passed = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = loop {
        match recvmsg(far, &mut [IoSliceMut::new(buffer)], &mut passed, flags) {
            Ok(received) => break received,
            Err(Errno::INTR) => {}
            // The previous process still has its end open, but is about to exit.
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    // Owned first, so that each later error closes the descriptors.
    let sockets: Vec<OwnedFd> = passed
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        })
        .flatten()
        .collect();
    let is_truncated = received.flags.contains(ReturnFlags::CTRUNC);
    // Another version may have sent a longer message, which its format rejects.
    let bytes = &buffer[..received.bytes.min(buffer.len())];
    Ok(Some(IncomingFrame { sockets, bytes, is_truncated }))
}

/// Takes the number of served requests and the unread bytes of a connection; `None` if the message is truncated.
fn take_entry<'b>(rest: &mut &'b [u8]) -> Option<(usize, &'b [u8])> {
    let (requests, length) = (take_number(rest)?, take_number(rest)?);
    Some((requests, rest.split_off(..length)?))
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let bytes = rest.split_off(..8)?.try_into().ok()?;
    u64::from_le_bytes(bytes).try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;

    fn parked(requests: usize, unread: &[u8]) -> (DetachedConnection, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (
            DetachedConnection {
                unread: Bytes::copy_from_slice(unread),
                requests,
                ..DetachedConnection::new(Socket::adopt(near.into()).unwrap(), None)
            },
            far,
        )
    }

    #[test]
    fn connections_survive_a_round_trip() {
        let (sender, far) = socket_pair().unwrap();
        let (mut connections, mut clients): (Vec<_>, Vec<_>) =
            (0..600).map(|n| parked(n, if n % 7 == 0 { b"POST /pi" } else { b"" })).unzip();
        sender.send(&mut connections).unwrap();
        assert!(connections.is_empty());
        drop(sender);

        let received = receive_all(&far).unwrap();
        assert_eq!(received.len(), 600);
        for (n, parked) in received.iter().enumerate() {
            assert_eq!((parked.requests, parked.unread.len()), (n, if n % 7 == 0 { 8 } else { 0 }));
        }
        let mut last: UnixStream = received[599].socket.as_fd().try_clone_to_owned().unwrap().into();
        let mut byte = [0];
        last.write_all(b"!").unwrap();
        clients[599].read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"!");
    }

    #[test]
    fn unstored_connections_are_an_error() {
        let (sender, far) = socket_pair().unwrap();
        drop(far);
        let (connection, _client) = parked(1, b"");
        let mut connections = vec![connection];
        assert!(sender.send(&mut connections).is_err());
        assert_eq!(connections.len(), 1);
    }

    #[test]
    fn oversized_connection_blocks_no_other() {
        let (sender, far) = socket_pair().unwrap();
        let most = MAX_BYTES - FORMAT.len() - OutgoingFrame::HEADER_LEN;
        let lengths = [0, most + 1, most, 1 << 20, 1];
        let (mut connections, _clients): (Vec<_>, Vec<_>) =
            lengths.iter().enumerate().map(|(n, length)| parked(n, &vec![b' '; *length])).unzip();
        let reason = sender.send(&mut connections).unwrap_err().to_string();
        assert!(reason.contains("too many"), "{reason}");
        assert_eq!(connections.iter().map(|parked| parked.requests).collect::<Vec<_>>(), [1, 3]);
        drop(sender);
        let received = receive_all(&far).unwrap();
        let received: Vec<_> = received.iter().map(|parked| (parked.requests, parked.unread.len())).collect();
        assert_eq!(received, [(0, 0), (2, most), (4, 1)]);
    }

    #[test]
    fn full_socket_keeps_its_frames() {
        let (sender, far) = socket_pair().unwrap();
        let mut sent = 0;
        loop {
            let (mut connections, _clients): (Vec<_>, Vec<_>) =
                (0..4).map(|n| parked(n, &[b'x'; 15_000])).unzip();
            match sender.send(&mut connections) {
                Ok(()) => sent += 4,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    sent += 4 - connections.len();
                    break;
                }
            }
        }
        assert!(sent > 0);
        assert_eq!(receive_all(&far).unwrap().len(), sent);
    }

    fn receive_all(far: &OwnedFd) -> Result<Vec<DetachedConnection>, BTreeMap<String, u64>> {
        let ReceivedConnections { connections, closed } = receive(far, usize::MAX);
        if closed.is_empty() { Ok(connections) } else { Err(closed) }
    }

    fn send_frame(sender: &HandoffSender, bytes: &[u8], sockets: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut passed = SendAncillaryBuffer::new(&mut space);
        passed.push(SendAncillaryMessage::ScmRights(sockets));
        sendmsg(&sender.0, &[IoSlice::new(bytes)], &mut passed, SendFlags::NOSIGNAL).unwrap();
    }

    /// Encodes this number of connections without requests and unread bytes.
    fn frame(entries: usize) -> Vec<u8> {
        [FORMAT.as_slice(), &vec![0; entries * OutgoingFrame::HEADER_LEN]].concat()
    }

    #[test]
    fn frame_of_another_version_is_closed_alone() {
        let (sender, far) = socket_pair().unwrap();
        let (first, _one) = parked(1, b"");
        let (other, mut two) = UnixStream::pair().unwrap();
        let (last, _three) = parked(3, b"x");
        sender.send(&mut vec![first]).unwrap();
        send_frame(&sender, b"pxho\0\0\0\x02?", &[other.as_fd()]);
        drop(other);
        sender.send(&mut vec![last]).unwrap();
        let ReceivedConnections { connections, closed } = receive(&far, usize::MAX);
        assert_eq!(connections.iter().map(|parked| parked.requests).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(
            closed.into_iter().collect::<Vec<_>>(),
            [("handed off in a format that this version does not read".into(), 1)]
        );
        assert_eq!(two.read(&mut [0]).unwrap(), 0, "it is closed");
    }

    #[test]
    fn connections_above_the_capacity_are_closed() {
        let (sender, far) = socket_pair().unwrap();
        let (mut connections, mut clients): (Vec<_>, Vec<_>) = (0..600).map(|n| parked(n, b"")).unzip();
        sender.send(&mut connections).unwrap();
        let ReceivedConnections { connections, closed } = receive(&far, 260);
        assert_eq!((connections.len(), closed.into_values().collect::<Vec<_>>()), (260, vec![340]));
        assert_eq!(clients[260].read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn unconnected_sockets_are_closed_with_reason() {
        let (sender, far) = socket_pair().unwrap();
        let datagram = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let (blocking, _client) = UnixStream::pair().unwrap();
        let sockets = [datagram.as_fd(), listener.as_fd(), file.as_fd(), blocking.as_fd()];
        send_frame(&sender, &frame(4), &sockets);
        let ReceivedConnections { connections, closed } = receive(&far, usize::MAX);
        let reasons: Vec<_> = closed.into_iter().collect();
        assert!(matches!(&reasons[..], [(_, 1), (_, 1), (_, 1)]), "{reasons:?}");
        for reason in ["no connection", "not connected", "socket"] {
            assert!(reasons.iter().any(|(logged, _)| logged.contains(reason)), "{reason}: {reasons:?}");
        }
        assert_eq!(connections.len(), 1);
        let flags = rustix::fs::fcntl_getfl(&connections[0].socket).unwrap();
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
    }

    #[test]
    fn count_mismatch_of_a_frame_is_reported() {
        let (sender, far) = socket_pair().unwrap();
        let (socket, _client) = UnixStream::pair().unwrap();
        send_frame(&sender, &frame(2), &[socket.as_fd()]);
        send_frame(&sender, &frame(1), &[socket.as_fd(), socket.as_fd()]);
        send_frame(&sender, &[&frame(1)[..], b"cut"].concat(), &[socket.as_fd(), socket.as_fd()]);
        let ReceivedConnections { connections, closed } = receive(&far, usize::MAX);
        assert_eq!(connections.len(), 3);
        assert_eq!(closed.into_values().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn stored_non_socket_is_reported() {
        let file = std::fs::File::open("/dev/null").unwrap().into();
        assert_eq!(receive_all(&file).unwrap_err().into_values().collect::<Vec<_>>(), [0]);
    }
}
