//! The program `pixeld`, from its command line to its exit code.

use std::{
    io::{IsTerminal, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::absolute,
    thread::sleep,
    time::{Duration, Instant},
};

use clap::Parser;

use super::{args::DaemonArgs, signals, startup};
use crate::{
    config::{ConfigErrors, Loaded, Sources},
    exit::Exit,
    log::{Event, Level, Log, Sink, Target},
    sanitize, sys,
    systemd::{Notifier, is_managed, take_inherited},
};

pub const EXITS: &[Exit] = &[Exit::Ok, Exit::Usage, Exit::Software, Exit::OsErr, Exit::IoErr, Exit::Config];

/// The whole life of `pixeld`, from its command line to its exit code.
pub fn main() -> Exit {
    let started = Instant::now();
    // The signals that pixeld does not use, so that they do not end the process.
    sys::ignore_signals(&signals::IGNORED);
    // The command line.
    let args = match DaemonArgs::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let printed = error.print().and_then(|()| sys::ensure_stdout_was_open());
            return Exit::after_usage("pixeld", printed, error.use_stderr());
        }
    };
    // The configuration; --check ends here. Paths are absolute, so that error messages name the file in any folder.
    let file = args.config.clone().map(|file| absolute(&file).unwrap_or(file));
    let sources = file.map_or_else(Sources::system, Sources::File);
    let loaded = sources.load();
    if args.check {
        return check(loaded);
    }
    // The descriptors that systemd passed, before their numbers are reused.
    let inherited = take_inherited();
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(errors) => return fail_config(&errors),
    };
    // The log and its thread.
    let log = match open_log(loaded.settings.log.target, loaded.settings.log.level) {
        Ok(log) => log,
        Err(exit) => return exit,
    };
    // The daemon, from its sockets to its shutdown.
    let exit = run_to_end(&log, || match inherited {
        Ok(inherited) => startup::run(&args, inherited, sources, loaded, &log, started),
        Err(error) => {
            let reason = format!("Cannot take sockets from systemd (LISTEN_FDS=): {error}");
            log.send(Event::SocketFailed { reason });
            Exit::OsErr
        }
    });
    // A pause after a failure, because systemd restarts the process.
    pause_before_restart(exit, started);
    exit
}

/// Runs the daemon, and then flushes the log, also after a panic.
fn run_to_end(log: &Log, run: impl FnOnce() -> Exit) -> Exit {
    // No state that the panic may have left inconsistent is used afterwards.
    let exit = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Exit::Software);
    log.flush(LOG_FLUSH_LIMIT);
    exit
}

/// Minimum lifetime of a process that fails under systemd. Without it, systemd would restart the process ten times a
/// second (`RestartSec=100ms`).
const MIN_LIFETIME: Duration = Duration::from_secs(1);

fn pause_before_restart(exit: Exit, started: Instant) {
    // After other exit codes, systemd does not restart the process.
    if matches!(exit, Exit::OsErr | Exit::Software) && is_managed() {
        sleep(MIN_LIFETIME.saturating_sub(started.elapsed()));
    }
}

/// Maximum time to flush the log, because its reader may be stalled.
const LOG_FLUSH_LIMIT: Duration = Duration::from_secs(1);

fn open_log(target: Target, level: Level) -> Result<Log, Exit> {
    Log::start(Sink::open(target), level).map_err(|error| {
        report(&format!("pixeld: cannot start the log thread: {error}"));
        Exit::OsErr
    })
}

/// `--check`: prints every error on a line of its own, or the files that are valid.
fn check(loaded: Result<Loaded, ConfigErrors>) -> Exit {
    match loaded {
        Ok(loaded) => {
            for warning in loaded.warnings.lines() {
                report(&format!("pixeld: warning: {warning}"));
            }
            let mut text: String =
                loaded.files.iter().map(|file| format!("{}: valid\n", sanitize::path(file))).collect();
            if text.is_empty() {
                text = "No configuration file found: each key has its default.\n".into();
            }
            let written =
                sys::ensure_stdout_was_open().and_then(|()| std::io::stdout().write_all(text.as_bytes()));
            match written {
                Ok(()) => Exit::Ok,
                Err(error) => {
                    report(&format!("pixeld: the result cannot be written: {error}"));
                    Exit::IoErr
                }
            }
        }
        Err(errors) => {
            report(&errors);
            Exit::Config
        }
    }
}

/// Maximum length of a status, in characters; systemd ignores notifications of more than 4,096 bytes.
const MAX_STATUS: usize = 1000;

/// Logs the errors of the configuration and sends them to systemd as the status. Returns the exit code.
fn fail_config(errors: &ConfigErrors) -> Exit {
    let event = Event::ConfigRejected { faults: errors.lines() };
    let status = sanitize::shorten(&event.message(), MAX_STATUS).into_owned();
    if let Ok(log) = open_log(Target::Auto, Level::Info) {
        log.send(event);
        log.flush(LOG_FLUSH_LIMIT);
    }
    // For `systemctl status`.
    let _ = Notifier::open().status(&status);
    if std::io::stderr().is_terminal() {
        report(&"hint: correct the files, then try `pixeld --check`");
    }
    Exit::Config
}

/// Prints to stderr. If that fails, the exit code is all that remains.
fn report(text: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use std::{panic::resume_unwind, sync::mpsc};

    use super::*;

    #[test]
    fn panic_is_logged_before_the_exit() {
        let (lines, written) = mpsc::channel();
        let sink = Sink::function(move |event| {
            // The log is slower than the exit of the process.
            sleep(Duration::from_millis(100));
            let _ = lines.send(event.name());
        });
        let log = Log::start(sink, Level::Info).unwrap();
        // The daemon, from its sockets to its shutdown.
        let exit = run_to_end(&log, || {
            log.send(Event::Panicked { reason: "as the hook does".into() });
            resume_unwind(Box::new(()));
        });
        assert_eq!((exit, written.try_iter().collect::<Vec<_>>()), (Exit::Software, vec!["panicked"]));
    }
}
