//! A small web server in a test's network: files to be fetched, and what was put there.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::client::Client;

/// How long a client may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// A server that lasts as long as the test process.
pub struct Web {
    put: Arc<Mutex<Vec<String>>>,
}

impl Web {
    /// Serves files by their paths, at an address that the client's network has.
    pub fn serve(at: &Client, address: SocketAddr, files: HashMap<String, Vec<u8>>) -> Self {
        let listener = at.in_its_network(|| TcpListener::bind(address)).expect("listen for the hosts");
        let put = Arc::new(Mutex::new(Vec::new()));
        let (files, puts) = (Arc::new(files), Arc::clone(&put));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, puts) = (Arc::clone(&files), Arc::clone(&puts));
                thread::spawn(move || {
                    // A client that has gone away is not the server's concern.
                    let _ = answer(&stream, &files, &puts);
                });
            }
        });
        Self { put }
    }

    /// The bodies of all PUT requests so far.
    pub fn put(&self) -> Vec<String> {
        self.put.lock().expect("nobody panics with the lock").clone()
    }
}

/// Answers one request, and closes.
fn answer(
    mut stream: &TcpStream,
    files: &HashMap<String, Vec<u8>>,
    puts: &Mutex<Vec<String>>,
) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let mut words = head.first().map(String::as_str).unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = if method == "PUT" {
        let length = head
            .iter()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        puts.lock().expect("nobody panics with the lock").push(String::from_utf8_lossy(&body).into_owned());
        ("200 OK", &[][..])
    } else {
        // apt writes it so.
        files.get(&path.replace("%7e", "~")).map_or(("404 Not Found", &[][..]), |file| ("200 OK", &file[..]))
    };
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())?;
    stream.write_all(body)
}
