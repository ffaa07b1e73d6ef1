use std::time::Duration;

use super::{args::CtlArgs, host_target::HostTarget};

/// What every command needs to know.
#[derive(Debug)]
pub struct Options {
    pub targets: Vec<HostTarget>,
    /// Whether hosts were named, so that their replies are printed with their names.
    pub several: bool,
    /// How long each call may take.
    pub timeout: Duration,
    pub json: bool,
}

impl Options {
    pub fn new(args: &CtlArgs) -> Self {
        Self {
            targets: HostTarget::all(&args.hosts, args.socket.clone()),
            several: !args.hosts.is_empty(),
            timeout: args.timeout,
            json: args.json,
        }
    }
}
