use std::{
    env,
    io::{IsTerminal, Write, stderr},
    os::linux::fs::MetadataExt,
    time::SystemTime,
};

use serde::Deserialize;
use tracing_subscriber::{Registry, layer::SubscriberExt};

use super::{Event, Level, event::Line};

/// Where the log goes, as the configuration has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The journal when stderr is connected to it, else stderr.
    Auto,
    /// The journal.
    Journal,
    /// Standard error.
    Stderr,
}

/// An open destination of the log.
pub struct Sink(Box<dyn FnMut(&Event) + Send>);

impl Sink {
    /// The destination; where there is no journal, stderr takes its place. It is opened with the first
    /// event, by the thread that writes: opening the journal sends to it, which waits for as long as
    /// the journal does not listen, and no start may wait for that.
    pub fn open(target: Target) -> Self {
        let mut sink = None;
        Self::function(move |event| sink.get_or_insert_with(|| Self::open_now(target)).write(event))
    }

    fn open_now(target: Target) -> Self {
        let to_journal = match target {
            Target::Auto => stderr_is_the_journal(),
            Target::Journal => true,
            Target::Stderr => false,
        };
        if to_journal && let Ok(journal) = tracing_journald::layer() {
            Self::journal(journal)
        } else {
            Self::stderr()
        }
    }

    /// Calls `write` for each event.
    pub fn function(write: impl FnMut(&Event) + Send + 'static) -> Self {
        Self(Box::new(write))
    }

    pub(super) fn write(&mut self, event: &Event) {
        (self.0)(event);
    }

    fn journal(layer: tracing_journald::Layer) -> Self {
        use tracing_journald::{Priority, PriorityMappings};

        // As sd-daemon(3) numbers them: informational is 6, not 5.
        let priorities = PriorityMappings {
            error: Priority::Error,
            warn: Priority::Warning,
            info: Priority::Informational,
            debug: Priority::Debug,
            trace: Priority::Debug,
        };
        let layer = layer
            .with_field_prefix(None)
            .with_syslog_identifier("pixeld".into())
            .with_priority_mappings(priorities);
        let subscriber = Registry::default().with(layer);
        let dispatch = tracing::Dispatch::new(subscriber);
        Self::function(move |event| tracing::dispatcher::with_default(&dispatch, || trace(event)))
    }

    fn stderr() -> Self {
        let style = if stderr_is_the_journal() {
            Style::Prefixed
        } else if stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
            Style::Coloured
        } else {
            Style::Plain
        };
        Self::function(move |event| {
            // There is nowhere to tell that the log cannot be written.
            let _ = stderr().write_all(style.format(event).as_bytes());
        })
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

/// Whether stderr is the stream that systemd connected to the journal (systemd.exec(5),
/// `$JOURNAL_STREAM`: device and inode).
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev(), stderr.st_ino()))
}

fn trace(event: &Event) {
    macro_rules! emit {
        ($level:ident, $line:expr) => {{
            let Line { message, message_id, worker, client, status, reason } = $line;
            tracing::event!(
                target: "pixeld",
                tracing::Level::$level,
                message_id,
                worker,
                client,
                status,
                reason,
                "{message}"
            )
        }};
    }
    match event.level() {
        Level::Error => emit!(ERROR, event.line()),
        Level::Warn => emit!(WARN, event.line()),
        Level::Info => emit!(INFO, event.line()),
        Level::Debug => emit!(DEBUG, event.line()),
    }
}

/// How a line looks on stderr.
#[derive(Debug, Clone, Copy)]
enum Style {
    /// systemd reads it: the level as `<N>`, the time is systemd's.
    Prefixed,
    /// A person reads it.
    Coloured,
    /// A file or a pipe.
    Plain,
}

impl Style {
    fn format(self, event: &Event) -> String {
        let line = event.line();
        let mut text = line.message;
        if let Some(worker) = line.worker {
            text += &format!(" worker={worker}");
        }
        if let Some(client) = line.client {
            text += &format!(" client={client}");
        }
        // A message is one line, whatever it quotes.
        let text = text.replace('\n', "; ");
        let (number, name, colour) = match event.level() {
            Level::Error => (3, "error", "\x1b[31m"),
            Level::Warn => (4, "warn ", "\x1b[33m"),
            Level::Info => (6, "info ", "\x1b[32m"),
            Level::Debug => (7, "debug", "\x1b[2m"),
        };
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        match self {
            Self::Prefixed => format!("<{number}>{text}\n"),
            Self::Coloured => format!("\x1b[2m{now}\x1b[0m {colour}{name}\x1b[0m {text}\n"),
            Self::Plain => format!("{now} {name} {text}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_with_its_fields() {
        let event =
            Event::Refused { worker: 2, client: "[::1]:5000".into(), status: 404, reason: "no such path" };
        assert_eq!(
            Style::Prefixed.format(&event),
            "<7>Answered 404: no such path worker=2 client=[::1]:5000\n"
        );
        let event = Event::ConfigRefused { faults: vec!["a\nb".into(), "c".into()] };
        assert_eq!(Style::Prefixed.format(&event), "<3>The configuration is refused: a; b; c\n");
        assert!(Style::Plain.format(&event).ends_with("Z error The configuration is refused: a; b; c\n"));
        assert!(Style::Coloured.format(&event).contains("\x1b[31merror\x1b[0m The"));
    }
}
