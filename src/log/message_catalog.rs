//! The table of event kinds: name, level, and identifier in systemd/pixeld.catalog.

use super::event::Event;
use crate::control::Level;

/// The properties that all events of a kind share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKind {
    /// The name, which programs match: `EVENT=` in the journal, `name` in Varlink replies.
    pub name: &'static str,
    pub level: Level,
    /// `MESSAGE_ID=` (systemd.journal-fields(7)); the catalog has an entry for each.
    pub message_id: Option<&'static str>,
}

impl Event {
    pub const fn level(&self) -> Level {
        self.kind().level
    }

    /// Returns the name for programs.
    pub const fn name(&self) -> &'static str {
        self.kind().name
    }
}

macro_rules! kinds {
    (@id -) => { None };
    (@id $id:literal) => { Some($id) };
    ($($variant:ident $level:ident $name:literal $id:tt)*) => {
        impl Event {
            /// All kinds, the most urgent level first.
            pub const KINDS: &[EventKind] = &[
                $(EventKind { name: $name, level: Level::$level, message_id: kinds!(@id $id) }),*
            ];

            /// Returns the properties of its kind.
            pub const fn kind(&self) -> EventKind {
                match self {
                    $(Self::$variant { .. } => {
                        EventKind { name: $name, level: Level::$level, message_id: kinds!(@id $id) }
                    })*
                }
            }
        }
    };
}

kinds! {
    ConfigRejected     Error "configRejected"     "a25df3ade32f4a14a0e73a813c63a0b8"
    SocketFailed       Error "socketFailed"       "28c629ea58104ae0bf19fcb1487c336a"
    OsError            Error "osError"            "2dad6e9db8fb4e1fb4efdfa2d98a4c48"
    ReloadFailed       Error "reloadFailed"       "c8f4e9d011714521ac0a31aa828184a4"
    WorkerStalled      Error "workerStalled"      "be97cc6945f74975bc64f7e2c145c76c"
    Panicked           Error "panicked"           "c105109064c843b8ab13795655f2e9a4"
    ConfigDeprecated   Warn  "configDeprecated"   "6b0f4d7e3a8241c5b9e27c1f50a8d364"
    SocketRejected     Warn  "socketRejected"     "53dbb47ca6e14835bf51ebf9cfe3ebb5"
    CountersReset      Warn  "countersReset"      "0937d7d5551c4daf979cc49e514d2faa"
    LimitReached       Warn  "limitReached"       "ed9aa10921f8450b9711a84c0e04137a"
    FdLimitTooLow      Warn  "fdLimitTooLow"      "de7429e1c23a473ea766a799a688eb0d"
    AcceptPaused       Warn  "acceptPaused"       "e5791fde5984481c8df0b9107d331546"
    AdoptFailed        Warn  "adoptFailed"        "2a09d25e3b28456e96038e9b7bbbcb4c"
    HandoffFailed      Warn  "handoffFailed"      "f58a0ae4f6794d13bf7ce4b764ea09a3"
    ProcessPaused      Warn  "processPaused"      "3f3971afd7674ae292ec6aed665ad7a1"
    LogStalled         Warn  "logStalled"         "ed93f60e9dcc48ce91a53d9cd4fa727e"
    LogLinesDropped    Warn  "logLinesDropped"    "45ed9524eb2f496aa3e11c69026b7ebc"
    NotifyFailed       Warn  "notifyFailed"       "27c234fca1cf4594bb11afb149706068"
    Ready              Info  "ready"              "612a9539e41e46e39e722c440241d172"
    ConfigLoaded       Info  "configLoaded"       "d9c58c28ec4a420eb03abf8d98ac4d7e"
    Reloaded           Info  "reloaded"           "ebfef2f7568543beafafbb439505ac78"
    WorkerStarted      Info  "workerStarted"      "0d54459a20dc4720a1022d1ed8501199"
    WorkerExited       Info  "workerExited"       "2ca34ba85c624f9185254cf2db223470"
    WorkersSet         Info  "workersSet"         "958861237bc8445fa16b54bf676220f2"
    LogLevelSet        Info  "logLevelSet"        "a500b4a738da4374b1fd5ce960344d97"
    Drained            Info  "drained"            "5aac3b13921e44aa951b3d54f66d6ac4"
    Resumed            Info  "resumed"            "32d34204d5d04ad1a563764abd0b7c7d"
    DrainedAtStart     Info  "drainedAtStart"     "2ac8ce82140d49f2826cbf0435bcec34"
    AcceptResumed      Info  "acceptResumed"      "5d0eeee91f1243e7a7bfaf628d8064e4"
    Stopping           Info  "stopping"           "09961bbd19a44ff0834f70c817fa53cf"
    Stopped            Info  "stopped"            "8874f1d6ff6940678c8beeff4a4446ab"
    ConnectionsAdopted Info  "connectionsAdopted" "a2e697774150474d84cfa9f51709c47a"
    RequestRejected    Debug "requestRejected"    -
    Disconnected       Debug "disconnected"       -
    ControlFailed      Debug "controlFailed"      -
}
