use std::{
    io::{self, BufRead, BufReader, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};

use super::PATIENCE;

/// A Varlink client that sends exactly what it is told to.
pub struct Varlink(BufReader<UnixStream>);

impl Varlink {
    pub fn connect(path: &Path) -> Self {
        let varlink = Self(BufReader::new(UnixStream::connect(path).unwrap()));
        varlink.set_limit(PATIENCE);
        varlink
    }

    /// From now on sending, and waiting for a reply, may take so long.
    pub fn set_limit(&self, limit: Duration) {
        let stream = self.0.get_ref();
        stream.set_read_timeout(Some(limit)).unwrap();
        stream.set_write_timeout(Some(limit)).unwrap();
    }

    /// Calls a method: its whole reply, be it parameters or an error.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.send(json!({ "method": method, "parameters": parameters }).to_string() + "\0").unwrap();
        self.reply().expect("a reply")
    }

    /// Closes one side or both, and stays connected.
    pub fn shutdown(&self, side: Shutdown) {
        self.0.get_ref().shutdown(side).unwrap();
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref())
    }

    /// The next reply; `None` when the daemon has closed the connection.
    pub fn reply(&mut self) -> Option<Value> {
        let mut message = Vec::new();
        match self.0.read_until(0, &mut message) {
            Ok(0) => return None,
            // It closed while bytes of ours were still unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
            Ok(_) => {}
            Err(error) => panic!("no reply: {error}"),
        }
        assert_eq!(message.pop(), Some(0), "the reply ends with a NUL byte");
        Some(serde_json::from_slice(&message).unwrap())
    }
}
