use std::{
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

use crate::{http::Parked, net::Socket};

/// Connections in one message: SCM_MAX_FD (unix(7)).
const MOST_CONNECTIONS: usize = 253;
/// Bytes of a message beside the descriptors; little enough for any socket's buffer.
const MOST_BYTES: usize = 64 << 10;
const _: () = assert!(FORMAT.len() + Message::NUMBERS + Parked::MAX_UNREAD <= MOST_BYTES);
/// "pxho", and the version of what follows: for each connection the requests that were answered on it
/// and the length of what was read and not answered (64 bits each, little endian), and that itself.
const FORMAT: &[u8; 8] = b"pxho\0\0\0\x01";

/// The near end of a socket in which connections lie until the next process takes them. All of them
/// go into one, for systemd compares each descriptor that it is to keep with all that it keeps.
#[derive(Debug)]
pub struct Outbox(OwnedFd);

/// Makes a pair: what goes into the outbox comes out of the other end, in this process or the next.
///
/// # Errors
/// When the operating system has no descriptor left.
pub fn pair() -> io::Result<(Outbox, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok((Outbox(near), far))
}

impl Outbox {
    /// Whether somebody has the other end.
    pub fn is_kept(&self) -> bool {
        let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready == 0)
    }

    /// Sends as many of these connections as fit; those that do not stay in `connections`.
    ///
    /// # Errors
    /// When nobody keeps the other end, it is full, or too many descriptors are on their way; and, when all
    /// others are sent, for those of which no message could hold what was read.
    pub fn send(&self, connections: &mut Vec<Parked>) -> io::Result<()> {
        // Set aside first: one of them holds up nobody.
        let too_large: Vec<_> = connections.extract_if(.., |parked| !Message::holds(parked)).collect();
        let sent = self.send_all(connections);
        let all_fit = too_large.is_empty();
        connections.extend(too_large);
        sent?;
        if all_fit {
            Ok(())
        } else {
            Err(io::Error::other("too much of their next requests was read already"))
        }
    }

    fn send_all(&self, connections: &mut Vec<Parked>) -> io::Result<()> {
        while !connections.is_empty() {
            let message = Message::of(connections);
            let sockets: Vec<BorrowedFd<'_>> =
                connections[..message.count].iter().map(|parked| parked.socket.as_fd()).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_CONNECTIONS))];
            let mut passed = SendAncillaryBuffer::new(&mut space);
            passed.push(SendAncillaryMessage::ScmRights(&sockets));
            let flags = SendFlags::NOSIGNAL;
            sendmsg(&self.0, &[IoSlice::new(&message.bytes)], &mut passed, flags)?;
            connections.drain(..message.count);
        }
        Ok(())
    }
}

/// What goes along with the descriptors.
struct Message {
    bytes: Vec<u8>,
    count: usize,
}

impl Message {
    /// Bytes before what was read of a connection.
    const NUMBERS: usize = 16;

    /// Whether a message has room for this one.
    fn holds(parked: &Parked) -> bool {
        FORMAT.len() + Self::NUMBERS + parked.unread.len() <= MOST_BYTES
    }

    /// The first of these connections, as many as one message holds: at least one, where it
    /// [`Self::holds`] each.
    fn of(connections: &[Parked]) -> Self {
        let mut message = Self { bytes: FORMAT.to_vec(), count: 0 };
        for parked in connections.iter().take(MOST_CONNECTIONS) {
            if message.bytes.len() + Self::NUMBERS + parked.unread.len() > MOST_BYTES {
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

/// Takes everything that a process before has left.
///
/// # Errors
/// When it was left by another version, or is no such socket; what was taken until then is returned
/// too.
pub fn receive(far: &OwnedFd) -> (Vec<Parked>, io::Result<()>) {
    let mut connections = Vec::new();
    let mut buffer = vec![0; MOST_BYTES];
    let result = loop {
        match receive_message(far, &mut buffer) {
            Ok(Some(message)) => connections.extend(message),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    (connections, result)
}

/// One message; `None` at the end.
fn receive_message(far: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<Vec<Parked>>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_CONNECTIONS))];
    let mut passed = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = match recvmsg(far, &mut [IoSliceMut::new(buffer)], &mut passed, flags) {
        Ok(received) => received,
        // The process before still has its end, but it is about to go.
        Err(Errno::AGAIN) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    // Whatever goes wrong from here on, the descriptors are closed.
    let sockets: Vec<OwnedFd> = passed
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        })
        .flatten()
        .collect();
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a message was cut off, for descriptors or memory are short"));
    }
    let mut rest = buffer[..received.bytes]
        .strip_prefix(FORMAT)
        .ok_or_else(|| io::Error::other("they were left by another version"))?;
    let mut connections = Vec::new();
    for socket in sockets {
        let (requests, length) = (take_number(&mut rest)?, take_number(&mut rest)?);
        let unread = rest.split_off(..length).ok_or_else(cut_short)?;
        let socket = Socket::adopt(socket)?;
        let peer = socket.peer_address();
        let unread = Bytes::copy_from_slice(unread);
        connections.push(Parked { unread, requests, ..Parked::new(socket, peer) });
    }
    Ok(Some(connections))
}

fn take_number(rest: &mut &[u8]) -> io::Result<usize> {
    let bytes = rest.split_off(..8).ok_or_else(cut_short)?;
    let number = bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    usize::try_from(number).map_err(io::Error::other)
}

fn cut_short() -> io::Error {
    io::Error::other("a message is shorter than it says")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;

    fn parked(requests: usize, unread: &[u8]) -> (Parked, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (
            Parked {
                unread: Bytes::copy_from_slice(unread),
                requests,
                ..Parked::new(Socket::adopt(near.into()).unwrap(), None)
            },
            far,
        )
    }

    #[test]
    fn connections_come_out_as_they_went_in() {
        let (outbox, far) = pair().unwrap();
        let (mut connections, mut clients): (Vec<_>, Vec<_>) =
            (0..600).map(|n| parked(n, if n % 7 == 0 { b"POST /pi" } else { b"" })).unzip();
        outbox.send(&mut connections).unwrap();
        assert!(connections.is_empty());
        drop(outbox);

        let (received, result) = receive(&far);
        result.unwrap();
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
    fn what_nobody_keeps_is_not_lost_silently() {
        let (outbox, far) = pair().unwrap();
        drop(far);
        let (connection, _client) = parked(1, b"");
        let mut connections = vec![connection];
        assert!(outbox.send(&mut connections).is_err());
        assert_eq!(connections.len(), 1);
    }

    #[test]
    fn one_of_which_too_much_was_read_holds_up_nobody() {
        let (outbox, far) = pair().unwrap();
        let most = MOST_BYTES - FORMAT.len() - Message::NUMBERS;
        let lengths = [0, most + 1, most, 1 << 20, 1];
        let (mut connections, _clients): (Vec<_>, Vec<_>) =
            lengths.iter().enumerate().map(|(n, length)| parked(n, &vec![b' '; *length])).unzip();
        let reason = outbox.send(&mut connections).unwrap_err().to_string();
        assert!(reason.contains("too much"), "{reason}");
        assert_eq!(connections.iter().map(|parked| parked.requests).collect::<Vec<_>>(), [1, 3]);
        drop(outbox);
        let (received, result) = receive(&far);
        result.unwrap();
        let received: Vec<_> = received.iter().map(|parked| (parked.requests, parked.unread.len())).collect();
        assert_eq!(received, [(0, 0), (2, most), (4, 1)]);
    }

    #[test]
    fn a_full_box_keeps_what_it_has() {
        let (outbox, far) = pair().unwrap();
        let mut sent = 0;
        loop {
            let (mut connections, _clients): (Vec<_>, Vec<_>) =
                (0..4).map(|n| parked(n, &[b'x'; 15_000])).unzip();
            match outbox.send(&mut connections) {
                Ok(()) => sent += 4,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    sent += 4 - connections.len();
                    break;
                }
            }
        }
        assert!(sent > 0);
        let (received, result) = receive(&far);
        assert!(result.is_ok() && received.len() == sent);
    }

    #[test]
    fn what_another_version_left_is_told() {
        let (near, far) = pair().unwrap();
        rustix::net::send(&near.0, b"pxho\0\0\0\x02", SendFlags::empty()).unwrap();
        let (received, result) = receive(&far);
        assert!(received.is_empty() && result.unwrap_err().to_string().contains("another version"));
        let file = std::fs::File::open("/dev/null").unwrap().into();
        assert!(receive(&file).1.is_err());
    }
}
