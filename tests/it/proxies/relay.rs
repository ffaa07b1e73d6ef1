//! A relay in front of pixeld that keeps what each connection has carried.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

#[derive(Default)]
struct Carried {
    up: Vec<u8>,
    down: Vec<u8>,
}

pub struct Relay {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Arc<Mutex<Carried>>>>>,
}

impl Relay {
    /// Its threads end with the connections, and the one that accepts with the process.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections: Arc<Mutex<Vec<_>>> = Arc::default();
        let all = Arc::clone(&connections);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(target) else { continue };
                let carried: Arc<Mutex<Carried>> = Arc::default();
                all.lock().unwrap().push(Arc::clone(&carried));
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let sent = Arc::clone(&carried);
                thread::spawn(move || carry(from, to, |bytes| sent.lock().unwrap().up.extend(bytes)));
                thread::spawn(move || {
                    carry(server, client, |bytes| carried.lock().unwrap().down.extend(bytes));
                });
            }
        });
        Self { address, connections }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What each connection has carried to pixeld and back.
    pub fn carried(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let copy = |one: &Arc<Mutex<Carried>>| {
            let one = one.lock().unwrap();
            (one.up.clone(), one.down.clone())
        };
        self.connections.lock().unwrap().iter().map(copy).collect()
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        keep(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
