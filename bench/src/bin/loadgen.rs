//! A load generator for what wrk cannot do: Unix sockets, and connections that only lie there.
//!
//!     loadgen (TCP-ADDRESS | unix:PATH) BUSY IDLE SECONDS
//!
//! Each of the BUSY connections sends its next request when the answer to the last one has come; each of
//! the IDLE ones has had one answer. Prints one line of JSON.

use std::{
    env,
    fs::File,
    io::{self, Read, Write},
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, EventData, EventFlags},
    time::Timespec,
};

const REQUEST: &[u8] = b"POST /pixel HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
    content-length: 39\r\n\r\n{\"x\":1,\"y\":2,\"channel\":\"R\",\"value\":100}";

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [target, busy, idle, seconds] = arguments.as_slice() else {
        eprintln!("usage: loadgen (TCP-ADDRESS | unix:PATH) BUSY IDLE SECONDS");
        std::process::exit(64);
    };
    let (busy, idle) = (number(busy)?, number(idle)?);
    let idle = (0..idle).map(|_| open(target)).collect::<io::Result<Vec<_>>>()?;
    let busy = (0..busy).map(|_| open(target)).collect::<io::Result<Vec<_>>>()?;
    // Whoever measures begins here.
    println!("ready");
    let (answers, elapsed) = load(busy, Duration::from_secs(number(seconds)? as u64))?;
    println!("{{\"answers\":{answers},\"seconds\":{},\"idle\":{}}}", elapsed.as_secs_f64(), idle.len());
    Ok(())
}

fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(|error| io::Error::other(format!("{text}: {error}")))
}

/// A connection that has had its first answer.
fn open(target: &str) -> io::Result<File> {
    let socket = if let Some(path) = target.strip_prefix("unix:") {
        OwnedFd::from(UnixStream::connect(path)?)
    } else {
        let stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        OwnedFd::from(stream)
    };
    let mut stream = File::from(socket);
    stream.write_all(REQUEST)?;
    take_answer(&mut stream)?;
    Ok(stream)
}

fn load(mut streams: Vec<File>, duration: Duration) -> io::Result<(u64, Duration)> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let begun = Instant::now();
    for (place, stream) in streams.iter_mut().enumerate() {
        epoll::add(&poll, &*stream, EventData::new_u64(place as u64), EventFlags::IN)?;
        stream.write_all(REQUEST)?;
    }
    let mut answers = 0;
    let mut events = Vec::with_capacity(1024);
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    while begun.elapsed() < duration {
        epoll::wait(&poll, spare_capacity(&mut events), Some(&second))?;
        for event in events.drain(..) {
            let place = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
            let stream = &mut streams[place];
            take_answer(stream)?;
            answers += 1;
            stream.write_all(REQUEST)?;
        }
    }
    Ok((answers, begun.elapsed()))
}

/// Every answer is short and written at once, so one read takes all of it.
fn take_answer(stream: &mut File) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer)?;
    if !buffer[..length].starts_with(b"HTTP/1.1 200 ") {
        let text = String::from_utf8_lossy(&buffer[..length]);
        return Err(io::Error::other(format!("not accepted: {text:?}")));
    }
    Ok(())
}
