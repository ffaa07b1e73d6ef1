use std::{
    io::{self, BufRead, BufReader, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
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

/// Serves these replies by their methods, to any number of clients, for as long as the test takes. Each
/// connection is closed behind the reply to a call for several.
pub fn serve_varlink(listener: UnixListener, replies: impl Fn(&str) -> Value + Send + Sync + 'static) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut call = Vec::new();
            while stream.read_until(0, &mut call).is_ok_and(|length| length > 0) {
                call.pop();
                let asked: Value = serde_json::from_slice(&call).unwrap();
                call.clear();
                let more = asked["more"] == true;
                let mut reply = replies(asked["method"].as_str().unwrap());
                if more {
                    reply["continues"] = true.into();
                }
                let _ = stream.get_mut().write_all((reply.to_string() + "\0").as_bytes());
                if more {
                    break;
                }
            }
        }
    });
}

/// As [`serve_varlink`], a service that calls itself this and has one reply to everything else.
pub fn serve_version(listener: UnixListener, product: &str, version: &str, reply: Value) {
    let info = json!({
        "vendor": "a vendor", "product": product, "version": version, "url": "", "interfaces": [],
    });
    serve_varlink(listener, move |method| match method {
        "org.varlink.service.GetInfo" => json!({ "parameters": info }),
        _ => reply.clone(),
    });
}
