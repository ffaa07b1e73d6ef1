use std::{
    array,
    ffi::OsString,
    io::{self, ErrorKind, IsTerminal, Write, stderr},
    os::unix::net::UnixDatagram,
    panic::Location,
    time::{Duration, SystemTime},
};

use nix::sys::stat::{fstat, makedev};
use tracing::{
    Dispatch, Metadata,
    field::{FieldSet, Value},
    metadata::Kind,
    subscriber::Interest,
};
use tracing_subscriber::{Registry, layer::SubscriberExt};

use super::{event::Event, journal_fields::Fields, message_catalog::EventKind};
use crate::{
    control::Level,
    environment::{JOURNAL_STREAM, NO_COLOR, TERM, Variable},
    systemd,
};

/// The value of `log.target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The journal if stderr is connected to it, else stderr.
    Auto,
    Journal,
    Stderr,
}

/// The socket of the journal.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// An open destination of the log.
pub struct Sink(Box<WriteEvent>);

/// Writes an event that the code at this place has sent.
type WriteEvent = dyn FnMut(&Event, &Location<'_>) -> io::Result<()> + Send;

impl Sink {
    /// Returns the destination; stderr replaces the journal while it cannot be reached. The log thread opens it with
    /// the first event, because opening the journal may block, and a start must not wait for it.
    pub fn open(target: Target) -> Self {
        let mut sink = None;
        Self(Box::new(move |event, place| {
            sink.get_or_insert_with(|| Self::open_now(target)).write(event, place)
        }))
    }

    fn open_now(target: Target) -> Self {
        let to_journal = match target {
            // systemd connects stderr to /dev/null if journald does not run when the service starts.
            Target::Auto => stderr_is_the_journal() || stderr_is_null() && systemd::is_managed(),
            Target::Journal => true,
            Target::Stderr => false,
        };
        if to_journal { Self::journal() } else { Self::stderr() }
    }

    /// Calls `write` for each event.
    pub fn function(mut write: impl FnMut(&Event) + Send + 'static) -> Self {
        Self::fallible(move |event| {
            write(event);
            Ok(())
        })
    }

    /// Calls `write` for each event; the event is lost if it fails.
    pub(super) fn fallible(mut write: impl FnMut(&Event) -> io::Result<()> + Send + 'static) -> Self {
        Self(Box::new(move |event, _| write(event)))
    }

    pub(super) fn write(&mut self, event: &Event, place: &Location<'_>) -> io::Result<()> {
        (self.0)(event, place)
    }

    /// Writes events to stderr that the journal does not take, unless stderr is /dev/null. Each event tries the
    /// journal again.
    fn journal() -> Self {
        let mut journal = None;
        let mut stderr = (!stderr_is_null()).then(Self::stderr);
        Self(Box::new(move |event, place| {
            let taken = match &mut journal {
                Some(journal) => Journal::write(journal, event, place),
                None => Journal::open().and_then(|opened| journal.insert(opened).write(event, place)),
            };
            taken.or_else(|error| match &mut stderr {
                Some(stderr) => stderr.write(event, place),
                None => Err(io::Error::new(error.kind(), format!("cannot reach the journal: {error}"))),
            })
        }))
    }

    fn stderr() -> Self {
        let style = if stderr_is_the_journal() {
            Style::Prefixed
        } else if stderr().is_terminal() && has_colours(Variable::get) {
            Style::Coloured
        } else {
            Style::Plain
        };
        let mut lines = Lines { out: stderr(), is_cut_off: false };
        Self::fallible(move |event| lines.write(&style.format(event)))
    }
}

/// A connection to the journal.
struct Journal {
    dispatch: Dispatch,
    /// Checks whether journald listens, because the layer hides whether it could send an entry. Connecting fails if
    /// journald does not listen; it neither blocks nor sends.
    probe: UnixDatagram,
}

impl Journal {
    fn open() -> io::Result<Self> {
        use tracing_journald::{Priority, PriorityMappings};

        // The numbers of sd-daemon(3): informational is 6 instead of the layer's 5.
        let priorities = PriorityMappings {
            error: Priority::Error,
            warn: Priority::Warning,
            info: Priority::Informational,
            debug: Priority::Debug,
            trace: Priority::Debug,
        };
        let layer = tracing_journald::layer()?
            .with_field_prefix(None)
            .with_syslog_identifier("pixeld".into())
            .with_priority_mappings(priorities);
        let dispatch = Dispatch::new(Registry::default().with(layer));
        Ok(Self { dispatch, probe: UnixDatagram::unbound()? })
    }

    fn write(&mut self, event: &Event, place: &Location<'_>) -> io::Result<()> {
        trace(&self.dispatch, event, place);
        self.probe.connect(JOURNAL)
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

/// Writes lines, and ends a line first that was cut off because the disk was full.
struct Lines<W> {
    out: W,
    is_cut_off: bool,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.is_cut_off {
            self.out.write_all(b"\n")?;
            self.is_cut_off = false;
        }
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.is_cut_off = !rest.is_empty();
        }
        Ok(())
    }
}

/// Whether stderr is the stream that systemd connected to the journal (systemd.exec(5),
/// `$JOURNAL_STREAM`: device and inode).
fn stderr_is_the_journal() -> bool {
    let Some(stream) = JOURNAL_STREAM.text() else { return false };
    fstat(stderr()).is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

/// Whether stderr is /dev/null.
fn stderr_is_null() -> bool {
    fstat(stderr()).is_ok_and(|stderr| stderr.st_rdev == makedev(1, 3))
}

/// Whether the environment allows colours on a terminal.
fn has_colours(variable: impl Fn(Variable) -> Option<OsString>) -> bool {
    let value = |name| variable(name).filter(|value| !value.is_empty());
    value(NO_COLOR).is_none()
        && value(TERM).is_some_and(|terminal| terminal != "dumb" && terminal != "unknown")
}

/// The fields of an entry in addition to those of its event and of the layer.
const ENTRY_FIELDS: [&str; 5] = ["message", "event", "message_id", "code_file", "code_line"];
const FIELD_COUNT: usize = ENTRY_FIELDS.len() + Fields::NAMES.len();

static FIELD_NAMES: [&str; FIELD_COUNT] = {
    let mut names = [""; FIELD_COUNT];
    let (entry, event) = names.split_at_mut(ENTRY_FIELDS.len());
    entry.copy_from_slice(&ENTRY_FIELDS);
    event.copy_from_slice(Fields::NAMES);
    names
};

/// The callsite of all entries for tracing. It has no file, because each entry has the place of its event.
struct Callsite;

impl tracing::callsite::Callsite for Callsite {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        metadata(Level::Info)
    }
}

/// Returns the metadata of all entries of this level.
fn metadata(level: Level) -> &'static Metadata<'static> {
    const fn of(level: tracing::Level) -> Metadata<'static> {
        let fields = FieldSet::new(&FIELD_NAMES, tracing::callsite::Identifier(&Callsite));
        Metadata::new("event", "pixeld", level, None, None, None, fields, Kind::EVENT)
    }
    static METADATA: [Metadata<'static>; Level::ALL.len()] = [
        of(tracing::Level::ERROR),
        of(tracing::Level::WARN),
        of(tracing::Level::INFO),
        of(tracing::Level::DEBUG),
    ];
    &METADATA[level as usize]
}

/// Sends an event to the journal, with the names of its fields in upper case.
fn trace(dispatch: &Dispatch, event: &Event, place: &Location<'_>) {
    let EventKind { name, level, message_id } = event.kind();
    let (message, fields, line) = (event.message(), event.fields(), place.line().to_string());
    let of_entry = [Some(&*message), Some(name), message_id, Some(place.file()), Some(&line)];
    let values: Vec<_> = of_entry.into_iter().chain(fields.values()).collect();
    let metadata = metadata(level);
    let names: Vec<_> = metadata.fields().iter().collect();
    let values: [_; FIELD_COUNT] =
        array::from_fn(|i| (&names[i], values[i].as_ref().map(|value| value as &dyn Value)));
    dispatch.event(&tracing::Event::new(metadata, &metadata.fields().value_set(&values)));
}

/// Formats the time of a line, to the second in UTC. Times before 1970 or after the year 9999, which RFC 3339 cannot
/// express, become the nearest valid time.
fn timestamp(time: SystemTime) -> String {
    /// 9999-12-31 23:59:59
    const LAST: Duration = Duration::from_secs(253_402_300_799);

    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}

/// The style of lines on stderr.
#[derive(Debug, Clone, Copy)]
enum Style {
    /// For systemd: the level as `<N>`; systemd adds the time.
    Prefixed,
    /// For a terminal.
    Coloured,
    /// For a file or a pipe.
    Plain,
}

impl Style {
    /// Whether this field follows the message. On a terminal, only fields that the message lacks do.
    fn shows(self, field: &str) -> bool {
        match self {
            Self::Coloured => ["worker", "client"].contains(&field),
            // The message includes these.
            Self::Prefixed | Self::Plain => !["reason", "by", "claimed_user"].contains(&field),
        }
    }

    fn format(self, event: &Event) -> String {
        let mut text = event.message();
        if !matches!(self, Self::Coloured) {
            text += &format!(" event={}", event.name());
        }
        for (name, value) in event.fields().iter().filter(|(name, _)| self.shows(name)) {
            let is_word = !value.contains(|c: char| c.is_whitespace() || c == '"');
            text += &if is_word { format!(" {name}={value}") } else { format!(" {name}={value:?}") };
        }
        // A message is one line, also if it quotes several.
        let text = text.replace('\n', "; ");
        let (number, name, colour) = match event.level() {
            Level::Error => (3, "error", "\x1b[31m"),
            Level::Warn => (4, "warn ", "\x1b[33m"),
            Level::Info => (6, "info ", "\x1b[32m"),
            Level::Debug => (7, "debug", "\x1b[2m"),
        };
        let now = timestamp(SystemTime::now());
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
    fn line_after_a_truncated_one_starts_fresh() {
        /// A disk with space for this number of bytes.
        struct Disk(Vec<u8>, usize);
        impl Write for Disk {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let taken = bytes.len().min(self.1 - self.0.len());
                self.0.extend(&bytes[..taken]);
                if taken == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(taken) }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut lines = Lines { out: Disk(Vec::new(), 8), is_cut_off: false };
        lines.write("one\n").unwrap();
        for _ in 0..2 {
            lines.write("twenty\n").unwrap_err();
        }
        lines.out.1 = 20;
        lines.write("three\n").unwrap();
        lines.write("four\n").unwrap();
        assert_eq!(String::from_utf8_lossy(&lines.out.0), "one\ntwen\nthree\nfour\n");
    }

    #[test]
    fn unknown_terminal_has_no_colours() {
        let with = |terminal: Option<&str>, no_color: Option<&str>| {
            has_colours(|name| match name {
                TERM => terminal.map(OsString::from),
                _ => no_color.map(OsString::from),
            })
        };
        assert!(with(Some("xterm"), None) && with(Some("xterm"), Some("")));
        assert!(!with(Some("xterm"), Some("1")));
        for terminal in [None, Some(""), Some("dumb"), Some("unknown")] {
            assert!(!with(terminal, None), "{terminal:?}");
        }
    }

    #[test]
    fn timestamp_is_clamped_to_the_year_9999() {
        let far = Duration::from_secs(1 << 40);
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH + far), "9999-12-31T23:59:59Z");
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH - far), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn event_is_one_line_with_its_fields() {
        let event = Event::RequestRejected {
            worker: 2,
            client: "[::1]:5000".into(),
            status: 404,
            reason: "no such path".into(),
        };
        assert_eq!(
            Style::Prefixed.format(&event),
            "<7>Request rejected with 404: no such path event=requestRejected worker=2 client=[::1]:5000 status=404\n"
        );
        let event = Event::ConfigRejected { faults: vec!["a\nb".into(), "c".into()] };
        assert_eq!(
            Style::Prefixed.format(&event),
            "<3>Configuration rejected, pixeld does not start: (1) a; b; (2) c event=configRejected\n"
        );
        assert!(Style::Plain.format(&event).ends_with(
            "Z error Configuration rejected, pixeld does not start: (1) a; b; (2) c event=configRejected\n"
        ));
        assert!(Style::Coloured.format(&event).contains("\x1b[31merror\x1b[0m Configuration"));
    }
}
