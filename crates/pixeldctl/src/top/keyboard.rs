use std::{
    fs::File,
    io::{ErrorKind, Read},
    thread,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::key_bindings::{KeyAction, KeyParser};
use crate::error::CommandError;

/// The keys of the terminal, whatever stdin is. A thread waits for them, and ends with the program:
/// where stdin is the terminal, others who share it would not expect it never to wait.
pub struct Keyboard {
    arrived: mpsc::Receiver<Vec<u8>>,
    keys: KeyParser,
    /// When a sequence that has begun is given up.
    patience: Instant,
}

/// Sequences arrive at once, or nearly so by way of ssh.
const REST_OF_SEQUENCE: Duration = Duration::from_millis(100);

impl Keyboard {
    /// Opens it.
    ///
    /// # Errors
    /// When this process has no terminal of its own.
    pub fn open() -> Result<Self, CommandError> {
        let fail = |error| CommandError::NoScreen(format!("keys cannot be read from /dev/tty: {error}"));
        let terminal = File::open("/dev/tty").map_err(fail)?;
        let (sender, arrived) = mpsc::channel(1);
        thread::Builder::new().name("keyboard".into()).spawn(|| read(terminal, sender)).map_err(fail)?;
        Ok(Self { arrived, keys: KeyParser::default(), patience: Instant::now() })
    }

    /// Waits for keys; when the terminal has gone, that is the same as a key to quit. May be dropped
    /// while it waits.
    pub async fn next(&mut self) -> Vec<KeyAction> {
        loop {
            let arrived = if self.keys.is_waiting() {
                match timeout_at(self.patience, self.arrived.recv()).await {
                    Ok(arrived) => arrived,
                    Err(_) => return self.keys.give_up_waiting().into_iter().collect(),
                }
            } else {
                self.arrived.recv().await
            };
            let Some(bytes) = arrived else { return vec![KeyAction::Quit] };
            self.patience = Instant::now() + REST_OF_SEQUENCE;
            let keys = self.keys.receive(&bytes);
            if !keys.is_empty() {
                return keys;
            }
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // that the sender goes away says that the terminal has
fn read(mut terminal: File, sender: mpsc::Sender<Vec<u8>>) {
    let mut bytes = [0; 256];
    loop {
        match terminal.read(&mut bytes) {
            Ok(length @ 1..) if sender.blocking_send(bytes[..length].to_vec()).is_ok() => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}
