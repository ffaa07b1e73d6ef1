//! The daemon, as a list of steps: read the configuration, take the sockets, start the workers,
//! say that it is ready; then follow signals and control clients until it is told to stop.

mod args;
mod counters;
mod doors;
mod heir;
mod house;
mod operator;
mod panics;
mod process;
mod reload;
mod run;
mod sockets;
mod stop;
mod trend;

use std::{
    io::{IsTerminal, Write},
    path::absolute,
    time::Duration,
};

use clap::Parser;

use crate::{
    config::{Faults, Loaded, Sources},
    exit::Exit,
    log::{Event, Level, Log, Sink, Target},
    systemd::{Notifier, take_inherited},
};

pub use args::Args;

/// The whole life of `pixeld`, from its command line to its exit code.
pub fn main() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return Exit::after_usage("pixeld", &error),
    };
    // Absolute, for whoever reads a fault may be in another folder.
    let file = args.config.clone().map(|file| absolute(&file).unwrap_or(file));
    let sources = file.map_or_else(Sources::system, Sources::File);
    let loaded = sources.load();
    if args.check {
        return check(loaded);
    }
    let inherited = take_inherited();
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(faults) => return refuse(&faults),
    };
    let log = match open_log(loaded.settings.log.target, loaded.settings.log.level) {
        Ok(log) => log,
        Err(exit) => return exit,
    };
    let exit = match inherited {
        Ok(inherited) => run::run(&args, inherited, sources, loaded, &log),
        Err(error) => {
            let reason = format!("what systemd says about the sockets that it passed is wrong: {error}");
            log.send(Event::SocketFailed { reason });
            Exit::OsErr
        }
    };
    log.flush(LOG_FLUSH_LIMIT);
    exit
}

/// A log that nobody reads does not keep the daemon from ending.
const LOG_FLUSH_LIMIT: Duration = Duration::from_secs(1);

fn open_log(target: Target, level: Level) -> Result<Log, Exit> {
    Log::start(Sink::open(target), level).map_err(|error| {
        tell(&format!("pixeld: cannot start the thread of the log: {error}"));
        Exit::OsErr
    })
}

/// `--check`: every fault on a line of its own, or where the values come from.
fn check(loaded: Result<Loaded, Faults>) -> Exit {
    match loaded {
        Ok(loaded) => {
            let mut text: String =
                loaded.files.iter().map(|file| format!("{}: valid\n", file.display())).collect();
            if text.is_empty() {
                text = "There is no configuration file: every key has its default.\n".into();
            }
            match std::io::stdout().write_all(text.as_bytes()) {
                Ok(()) => Exit::Ok,
                Err(error) => {
                    tell(&format!("pixeld: the result cannot be written: {error}"));
                    Exit::IoErr
                }
            }
        }
        Err(faults) => {
            tell(&faults);
            Exit::Config
        }
    }
}

/// A start with a wrong configuration: told to the log, to systemd's status, and not tried.
fn refuse(faults: &Faults) -> Exit {
    let lines = faults.lines();
    let status = format!("The configuration is refused: {}", lines.join("; "));
    if let Ok(log) = open_log(Target::Auto, Level::Info) {
        log.send(Event::ConfigRefused { faults: lines });
        log.flush(LOG_FLUSH_LIMIT);
    }
    // Who started it by hand sees the log; who looks at `systemctl status` sees this.
    let _ = Notifier::default().status(&status);
    if std::io::stderr().is_terminal() {
        tell(&"pixeld: mend the files and try `pixeld --check`");
    }
    Exit::Config
}

/// Says something on stderr. Where nobody can be told, the exit code still tells.
fn tell(text: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
