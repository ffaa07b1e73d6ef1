use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser, value_parser};
use clap_complete::Shell;
use pixeld_control::MAX_WORKERS;

/// The heading in --help of the options that each command has.
const GLOBAL: &str = "Global options";

/// Looks inside a running pixeld, and steers it.
#[derive(Debug, Parser)]
#[command(
    name = "pixeldctl",
    version,
    max_term_width = 80,
    after_help = "Examples:\n  pixeldctl status               how it goes, on one screen\n  \
                  pixeldctl stats --watch 1      what happens each second\n  \
                  pixeldctl stats -H c5 -H t2    both hosts, and their sum\n  \
                  pixeldctl workers +1           one more thread, now\n  \
                  pixeldctl drain -H t2          send t2's requests elsewhere\n  \
                  pixeldctl doctor               what is wrong with this host\n\n\
                  Reading takes membership of the group pixeld, changing of pixeld-admin.\n\
                  See pixeldctl(1), pixeld(8) and pixeld-control(7)."
)]
pub struct CtlArgs {
    /// Do it on this host instead, by way of ssh and the pixeldctl there; may be given several
    /// times. ".host" is this host
    #[arg(short = 'H', long = "host", value_name = "[USER@]HOST", global = true, help_heading = GLOBAL, value_parser = NonEmptyStringValueParser::new())]
    pub hosts: Vec<String>,

    /// The daemon's control or admin socket [default: $PIXELDCTL_SOCKET, else the one under
    /// /run/pixeld, else under $XDG_RUNTIME_DIR/pixeld]
    #[arg(long, value_name = "PATH", global = true, help_heading = GLOBAL, conflicts_with = "hosts")]
    pub socket: Option<PathBuf>,

    /// How long the daemon may take to answer, such as "10s" or "500ms"
    #[arg(long, value_name = "TIME", global = true, help_heading = GLOBAL, default_value = "10s", value_parser = timeout)]
    pub timeout: Duration,

    /// Print what the daemon replies as JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum CtlCommand {
    /// Show how it goes on one screen: state, workers, rates, latency, last events
    Status,
    /// Show what the daemon has counted
    Stats {
        /// Print one line of figures every SECONDS seconds, over restarts of the daemon, too
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        watch: Option<Duration>,
        /// Print in the text format of Prometheus
        #[arg(long, conflicts_with_all = ["json", "watch"])]
        prometheus: bool,
        /// Put that in the place of a file in one step, instead of printing it
        #[arg(long, value_name = "FILE", requires = "prometheus")]
        output: Option<PathBuf>,
        /// Do not ask a daemon whose systemd unit is not active, for that would start it
        #[arg(long, value_name = "UNIT", requires = "prometheus", conflicts_with = "hosts")]
        if_active: Option<String>,
    },
    /// Show the worker threads, or change their number
    Workers {
        /// How many: N, +N more, -N fewer, or "auto" for as many as the configuration asks for
        #[arg(value_name = "N", allow_hyphen_values = true)]
        count: Option<WorkerCount>,
    },
    /// Show a live table of hosts and workers
    Top,
    /// Show what happened last
    Events {
        /// Go on with what happens next, over restarts of the daemon, too
        #[arg(short, long)]
        follow: bool,
        /// Show only the last N of those that have happened before
        #[arg(short = 'n', long, value_name = "N")]
        lines: Option<usize>,
    },
    /// Show the configuration that holds, and where each value comes from
    Config,
    /// Read the configuration again: all of it is applied, or nothing changes
    Reload {
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Show how much is logged, or change it
    LogLevel {
        /// Which level, or "auto" for what the configuration says
        level: Option<LogLevel>,
    },
    /// Answer requests with 503 from now on, so that nginx goes to another host
    Drain {
        /// Wait until no request is in flight, for TIME at most [default: 30s]
        #[arg(
            long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s",
            value_parser = timeout
        )]
        wait: Option<Duration>,
    },
    /// Answer requests again
    Resume,
    /// Look at the host for what makes a load test fail, and say how to fix it
    Doctor,
    /// Connect stdin and stdout to a control socket; what -H runs on the other host
    Bridge {
        /// What is going to be done over it
        #[arg(value_enum, default_value = "read")]
        purpose: Purpose,
    },
    /// Print the script that completes pixeldctl's command line in a shell
    Completions {
        /// Which shell
        #[arg(value_parser = value_parser!(Shell))]
        shell: Shell,
    },
}

/// How many workers there are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerCount {
    /// As many as the configuration asks for.
    Configured,
    /// This many.
    Exactly(u64),
    /// So many more, or fewer.
    Relative(i64),
}

impl FromStr for WorkerCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_possible = |count: u64| (1..=MAX_WORKERS as u64).contains(&count);
        let count = match text.as_bytes() {
            b"auto" => Some(Self::Configured),
            [b'+' | b'-', b'0'..=b'9', ..] => {
                text.parse().ok().filter(|by: &i64| is_possible(by.unsigned_abs())).map(Self::Relative)
            }
            _ => text.parse().ok().filter(|count| is_possible(*count)).map(Self::Exactly),
        };
        count.ok_or_else(|| format!("write a number from 1 to {MAX_WORKERS}, +N, -N or \"auto\""))
    }
}

/// How much is to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What does not work
    Error,
    /// Also what will stop working
    Warn,
    /// Also what the daemon does
    Info,
    /// Also each rejected request
    Debug,
    /// What the configuration says
    Auto,
}

/// What a connection is for, which decides over the socket that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// control.sock, or admin.sock where only that may be opened
    Read,
    /// admin.sock
    Change,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.is_zero() { Err("nothing can be done in no time".into()) } else { Ok(time) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write seconds, from 0.1 to 3600".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn clap_definition_is_consistent() {
        CtlArgs::command().debug_assert();
    }

    #[test]
    fn worker_counts_are_parsed() {
        use WorkerCount::{Configured, Exactly, Relative};
        for (text, count) in
            [("auto", Configured), ("4", Exactly(4)), ("+1", Relative(1)), ("-12", Relative(-12))]
        {
            assert_eq!(text.parse(), Ok(count), "{text}");
        }
        for text in ["0", "1025", "+0", "-", "--1", "+", "four", "", "1.5", "+-1", "99999999999999999999"] {
            assert!(text.parse::<WorkerCount>().is_err(), "{text}");
        }
    }
}
