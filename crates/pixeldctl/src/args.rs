use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser, value_parser};
use clap_complete::Shell;
use pixeld_control::MAX_WORKERS;

/// The heading in --help of the options that all commands have.
const GLOBAL: &str = "Global options";

/// Inspect and control a running pixeld
#[derive(Debug, Parser)]
#[command(
    name = "pixeldctl",
    version,
    max_term_width = 80,
    after_help = "Examples:\n  pixeldctl status               show state, rates and recent events\n  \
                  pixeldctl stats --watch 1      print statistics every second\n  \
                  pixeldctl stats -H c5 -H t2    show two hosts and their sum\n  \
                  pixeldctl workers +1           add a worker thread\n  \
                  pixeldctl drain -H t2          take host t2 out of service\n  \
                  pixeldctl doctor               check this host for problems\n\n\
                  Members of the group pixeld can inspect it, those of pixeld-admin can change it.\n\
                  See pixeldctl(1), pixeld(8) and pixeld-control(7)."
)]
pub struct CtlArgs {
    /// Run the command on HOST, over ssh and the pixeldctl there; may be repeated; ".host" is this
    /// host
    #[arg(short = 'H', long = "host", value_name = "[USER@]HOST", global = true, help_heading = GLOBAL, value_parser = NonEmptyStringValueParser::new())]
    pub hosts: Vec<String>,

    /// Connect to this control or admin socket [default: $PIXELDCTL_SOCKET, then the socket in
    /// /run/pixeld, then in $XDG_RUNTIME_DIR/pixeld]
    #[arg(long, value_name = "PATH", global = true, help_heading = GLOBAL, conflicts_with = "hosts")]
    pub socket: Option<PathBuf>,

    /// Wait at most TIME for each response of the daemon, such as "10s" or "500ms"
    #[arg(long, value_name = "TIME", global = true, help_heading = GLOBAL, default_value = "10s", value_parser = timeout)]
    pub timeout: Duration,

    /// Print JSON instead of text
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,

    #[command(subcommand)]
    pub command: CtlCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub enum CtlCommand {
    /// Show state, workers, rates, latency and recent events on one screen
    Status,
    /// Show the statistics of the daemon
    Stats {
        /// Print one line of statistics every SECONDS seconds, across restarts of the daemon
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        watch: Option<Duration>,
        /// Print metrics in the text format of Prometheus
        #[arg(long, conflicts_with_all = ["json", "watch"])]
        prometheus: bool,
        /// Replace FILE atomically instead of printing to stdout
        #[arg(long, value_name = "FILE", requires = "prometheus")]
        output: Option<PathBuf>,
        /// Query the daemon only if systemd has UNIT active, because a query would start it
        #[arg(long, value_name = "UNIT", requires = "prometheus", conflicts_with = "hosts")]
        if_active: Option<String>,
    },
    /// Show the worker threads or change their number
    Workers {
        /// Set N workers, add N (+N), remove N (-N), or restore the configured number ("auto")
        #[arg(value_name = "N", allow_hyphen_values = true)]
        count: Option<WorkerCount>,
    },
    /// Show hosts and workers live on the whole terminal
    Top,
    /// Show recent events
    Events {
        /// Continue with new events, across restarts of the daemon
        #[arg(short, long)]
        follow: bool,
        /// Show only the last N of the recent events
        #[arg(short = 'n', long, value_name = "N")]
        lines: Option<usize>,
    },
    /// Show the configuration in effect and the origin of each value
    Config,
    /// Reload the configuration; if it has a fault, change nothing
    Reload {
        /// Show what would change without applying it
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the log level or change it
    LogLevel {
        /// Set this level, or restore the configured level ("auto")
        level: Option<LogLevel>,
    },
    /// Reject requests with 503, so that nginx sends them to another host
    Drain {
        /// Wait until no request is in flight, for at most TIME [default: 30s]
        #[arg(
            long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s",
            value_parser = timeout
        )]
        wait: Option<Duration>,
    },
    /// Accept requests again after a drain
    Resume,
    /// Check the host for problems and print the commands that fix them
    Doctor,
    /// Connect stdin and stdout to a control socket, as -H does on the other host
    Bridge {
        /// Select the socket by purpose
        #[arg(value_enum, default_value = "read")]
        purpose: Purpose,
    },
    /// Print the completion script for a shell
    Completions {
        /// Select the shell
        #[arg(value_parser = value_parser!(Shell))]
        shell: Shell,
    },
}

/// The argument of `workers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerCount {
    /// The configured number.
    Configured,
    Exactly(u64),
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
        count.ok_or_else(|| format!("expected a number from 1 to {MAX_WORKERS}, +N, -N or \"auto\""))
    }
}

/// The argument of `log-level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Log failures
    Error,
    /// Log also conditions that lead to failures
    Warn,
    /// Log also changes of the daemon's state
    Info,
    /// Log also each rejected request
    Debug,
    /// Restore the configured level
    Auto,
}

/// The purpose of a connection, which decides the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// Use control.sock, or admin.sock if only that permits the user
    Read,
    /// Use admin.sock
    Change,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.is_zero() { Err("must be greater than zero".into()) } else { Ok(time) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds, from 0.1 to 3600".into())
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
