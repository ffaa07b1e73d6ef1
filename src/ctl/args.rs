use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Parser, Subcommand};

use crate::config::Workers;

/// Looks inside a running pixeld, and steers it.
#[derive(Debug, Parser)]
#[command(
    name = "pixeldctl",
    version,
    after_help = "Examples:\n  pixeldctl stats            what the daemon has done\n  \
                  pixeldctl workers 3        serve with three threads, now\n  \
                  pixeldctl stats --json | jq .requests.ok\n\n\
                  Reading takes membership of the group pixeld, changing of pixeld-admin.\n\
                  See pixeldctl(1) and pixeld(8)."
)]
pub struct Args {
    /// The daemon's control or admin socket [default: $PIXELDCTL_SOCKET, else the one under
    /// /run/pixeld, else under $XDG_RUNTIME_DIR/pixeld]
    #[arg(long, value_name = "PATH", global = true)]
    pub socket: Option<PathBuf>,

    /// How long the daemon may take to answer, such as "10s" or "500ms"
    #[arg(long, value_name = "TIME", global = true, default_value = "10s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,

    /// Print the daemon's reply as JSON
    #[arg(long, global = true)]
    pub json: bool,

    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Show what the daemon is doing and what it has counted
    Stats,
    /// Show the worker threads, or change their number
    Workers {
        /// From 1 to 1024, or "auto" for as many as the configuration asks for
        count: Option<WorkerCount>,
    },
    /// Read the configuration again: all of it is applied, or nothing changes
    Reload,
}

/// How many workers there are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerCount {
    /// As many as the configuration asks for.
    Configured,
    /// This many.
    Exactly(u64),
}

impl FromStr for WorkerCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Configured);
        }
        match text.parse() {
            Ok(count) if (1..=Workers::MOST as u64).contains(&count) => Ok(Self::Exactly(count)),
            _ => Err(format!("write a number from 1 to {}, or \"auto\"", Workers::MOST)),
        }
    }
}
