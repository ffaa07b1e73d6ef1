//! The least that any server has to do: wait, read, write. One thread, no parsing, a fixed answer to
//! whatever was read.

use std::{
    env,
    fs::File,
    io::{self, Read, Write},
    net::TcpListener,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
};

use pixeld_bench::address;
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, EventData, EventFlags},
    net::{AddressFamily, accept, getsockname, sockopt},
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 66\r\n\
    date: Sun, 22 Nov 2026 23:46:53 GMT\r\n\r\n\
    {\"status\":\"ok\",\"received\":{\"x\":1,\"y\":2,\"channel\":\"R\",\"value\":100}}";

/// Listens on the TCP address or the Unix socket that the first argument names.
fn main() -> io::Result<()> {
    let listener = match env::args().nth(1) {
        Some(path) if path.starts_with('/') => OwnedFd::from(UnixListener::bind(path)?),
        _ => OwnedFd::from(TcpListener::bind(address())?),
    };
    let is_tcp = getsockname(&listener)?.address_family() == AddressFamily::INET;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(u64::MAX), EventFlags::IN)?;

    // Each stands at the number of its descriptor.
    let mut streams = Vec::new();
    let mut events = Vec::with_capacity(1024);
    let mut buffer = [0; 16 << 10];
    loop {
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let Ok(place) = usize::try_from(event.data.u64()) else { continue };
            if let Some(stream) = streams.get_mut(place) {
                if serve(stream, &mut buffer).is_none() {
                    *stream = None;
                }
            } else {
                let stream = File::from(accept(&listener)?);
                if is_tcp {
                    sockopt::set_tcp_nodelay(&stream, true)?;
                }
                let place = usize::try_from(stream.as_raw_fd()).map_err(io::Error::other)?;
                epoll::add(&poll, &stream, EventData::new_u64(place as u64), EventFlags::IN)?;
                if streams.len() <= place {
                    streams.resize_with(place + 1, || None);
                }
                streams[place] = Some(stream);
            }
        }
    }
}

/// Answers what there is to read. `None` when the client has gone.
fn serve(stream: &mut Option<File>, buffer: &mut [u8]) -> Option<()> {
    let stream = stream.as_mut()?;
    let read = stream.read(buffer).ok()?;
    let written = if read > 0 { stream.write(ANSWER).ok()? } else { 0 };
    (written == ANSWER.len()).then_some(())
}
