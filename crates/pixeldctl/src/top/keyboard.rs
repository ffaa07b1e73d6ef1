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

/// The keys of the terminal, whatever stdin is. A thread reads them, because O_NONBLOCK on a terminal would affect
/// other programs that share it. The thread ends with the program.
pub struct Keyboard {
    arrived: mpsc::Receiver<Vec<u8>>,
    keys: KeyParser,
    /// The deadline of an incomplete sequence.
    patience: Instant,
}

/// The time for the rest of a sequence, which ssh may split.
const REST_OF_SEQUENCE: Duration = Duration::from_millis(100);

impl Keyboard {
    /// Opens the controlling terminal.
    pub fn open() -> Result<Self, CommandError> {
        let fail = |error| CommandError::NoScreen(format!("cannot read keys from /dev/tty: {error}"));
        let terminal = File::open("/dev/tty").map_err(fail)?;
        let (sender, arrived) = mpsc::channel(1);
        thread::Builder::new().name("keyboard".into()).spawn(|| read(terminal, sender)).map_err(fail)?;
        Ok(Self { arrived, keys: KeyParser::default(), patience: Instant::now() })
    }

    /// Waits for keys; returns [`KeyAction::Quit`] if the terminal is closed. Cancel safe.
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

#[allow(clippy::needless_pass_by_value)] // its drop reports the end of the terminal
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
