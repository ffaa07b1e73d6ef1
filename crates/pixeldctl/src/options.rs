use std::time::Duration;

use super::{args::CtlArgs, host_target::HostTarget};

/// The options of all commands.
#[derive(Debug)]
pub struct Options {
    pub targets: Vec<HostTarget>,
    /// Whether -H was given, so that replies are printed with host names.
    pub several: bool,
    /// The time limit of each call.
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
