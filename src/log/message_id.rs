//! What connects a message in the journal with its explanation in systemd/pixeld.catalog.

use super::Event;

impl Event {
    /// The MESSAGE_ID= (systemd.journal-fields(7)) of a warning or an error; the rest explains itself.
    pub fn message_id(&self) -> Option<&'static str> {
        Some(match self {
            Self::ConfigRefused { .. } => "a25df3ade32f4a14a0e73a813c63a0b8",
            Self::ReloadRefused { .. } => "c8f4e9d011714521ac0a31aa828184a4",
            Self::SocketFailed { .. } => "28c629ea58104ae0bf19fcb1487c336a",
            Self::SystemRefused { .. } => "2dad6e9db8fb4e1fb4efdfa2d98a4c48",
            Self::WorkerStuck { .. } => "be97cc6945f74975bc64f7e2c145c76c",
            Self::Panicked { .. } => "c105109064c843b8ab13795655f2e9a4",
            Self::SocketRejected { .. } => "53dbb47ca6e14835bf51ebf9cfe3ebb5",
            Self::CountersLost { .. } => "0937d7d5551c4daf979cc49e514d2faa",
            Self::RestoreFailed { .. } => "2a09d25e3b28456e96038e9b7bbbcb4c",
            Self::HandOverFailed { .. } => "f58a0ae4f6794d13bf7ce4b764ea09a3",
            Self::LimitReached { .. } => "ed9aa10921f8450b9711a84c0e04137a",
            Self::FilesShort { .. } => "de7429e1c23a473ea766a799a688eb0d",
            Self::AcceptPaused { .. } => "e5791fde5984481c8df0b9107d331546",
            Self::LogStalled { .. } => "ed93f60e9dcc48ce91a53d9cd4fa727e",
            Self::LinesDropped { .. } => "45ed9524eb2f496aa3e11c69026b7ebc",
            Self::NotifyFailed { .. } => "27c234fca1cf4594bb11afb149706068",
            _ => return None,
        })
    }
}
