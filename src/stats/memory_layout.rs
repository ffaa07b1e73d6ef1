use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    counter::{Counter, SharedCounter},
    histogram::Histogram,
};
use crate::{control::Outcome, sys::shareable};

shareable!(AcceptStats { accepted, adopted, evicted, pauses });
shareable!(WorkerCounters { outcomes, bytes_received, bytes_sent, write_timeouts, latency });
shareable!(Region {
    magic,
    since_unix_ms,
    starts,
    log_lines_dropped,
    drained_unix_ms,
    drained_by,
    slots_used,
    drained_name,
    drained_name_of,
    accept,
    workers,
});

/// Number of workers with separate counters, leaving ones included. Further workers share them.
pub const SLOTS: usize = 2048;
/// Words of 64 bits for a user name of at most 32 bytes (useradd(8)).
const NAME_WORDS: usize = 4;
const MAX_NAME: usize = 8 * NAME_WORDS;
const ELLIPSIS: &str = "…";

/// The layout of the counters in memory that outlives a process: words of 64 bits, initially zero, with every value
/// valid.
///
/// The first [`Region::PREFIX`] bytes are the same in every layout, except the number of the layout and the slots. Each
/// version therefore finds the drained state there, also if another version wrote it. This is so since 0.1.0, which has
/// layout 1 and zeros instead of the name. Only 0.1.0 itself ignores other layouts.
#[derive(Debug)]
#[repr(C)]
pub struct Region {
    /// [`Self::MAGIC`] if the region is in use.
    magic: AtomicU64,
    /// The start of the counters, in ms since 1970.
    since_unix_ms: AtomicU64,
    pub starts: Counter,
    pub log_lines_dropped: Counter,
    /// When the daemon was drained, in ms since 1970; 0 if it is not drained.
    drained_unix_ms: AtomicU64,
    /// The PID and UID that drained it.
    drained_by: AtomicU64,
    /// Slots that were used so far.
    slots_used: AtomicU64,
    /// The claimed name of the user that drained it, terminated by a zero if it is shorter.
    drained_name: [AtomicU64; NAME_WORDS],
    /// The time of the drain to which the name belongs. 0.1.0 has no names and does not change this.
    drained_name_of: AtomicU64,
    pub accept: AcceptStats,
    workers: [WorkerCounters; SLOTS],
}

/// Counters of accepted connections, which all workers write.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct AcceptStats {
    pub accepted: SharedCounter,
    /// Connections adopted from the previous process.
    pub adopted: SharedCounter,
    /// Connections closed because of the connection limit.
    pub evicted: SharedCounter,
    /// Pauses of accepting because of the connection limit, or a lack of descriptors or memory.
    pub pauses: SharedCounter,
}

/// The counters of a worker, on cache lines that no other worker writes.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct WorkerCounters {
    /// Served requests by [`Outcome`].
    pub outcomes: [Counter; Outcome::ALL.len()],
    pub bytes_received: Counter,
    pub bytes_sent: Counter,
    /// Connections closed because the client did not take its responses in time.
    pub write_timeouts: Counter,
    pub latency: Histogram,
}

/// The attribution of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainedBy {
    pub unix_ms: u64,
    pub pid: u32,
    /// The UID as the daemon saw it.
    pub uid: u32,
    name: [u64; NAME_WORDS],
}

impl DrainedBy {
    /// A name of more than 32 bytes is shortened, and ends with an ellipsis.
    pub fn new(unix_ms: u64, pid: u32, uid: u32, claimed_user: Option<&str>) -> Self {
        let mut name = [0; NAME_WORDS];
        let whole = claimed_user.unwrap_or_default();
        let kept = if whole.len() > MAX_NAME {
            let end = (0..=MAX_NAME - ELLIPSIS.len()).rfind(|end| whole.is_char_boundary(*end)).unwrap_or(0);
            Cow::Owned(whole[..end].to_owned() + ELLIPSIS)
        } else {
            Cow::Borrowed(whole)
        };
        for (word, bytes) in name.iter_mut().zip(kept.as_bytes().chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(eight);
        }
        Self { unix_ms, pid, uid, name }
    }

    /// Returns the name that the user claims.
    pub fn claimed_user(&self) -> Option<String> {
        let bytes = self.name.map(u64::to_ne_bytes);
        let name = bytes.as_flattened().split(|byte| *byte == 0).next().unwrap_or_default();
        (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    }

    fn from_words(unix_ms: u64, who: u64, name: [u64; NAME_WORDS], name_of: u64) -> Option<Self> {
        let name = if name_of == unix_ms { name } else { [0; NAME_WORDS] };
        let by = who.to_be_bytes();
        let half = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
        (unix_ms != 0).then(|| Self { unix_ms, pid: half(&by[..4]), uid: half(&by[4..]), name })
    }
}

impl Region {
    /// "pixeld" and the version of the layout. Each change of an offset needs a new version.
    const MAGIC: u64 = u64::from_be_bytes(*b"pixeld\0\x01");

    /// Number of bytes with the same meaning in every layout.
    pub const PREFIX: usize = 96;

    /// Returns the drained state from the first bytes of counters in any layout; `None` if these are not counters.
    pub fn read_drained(prefix: &[u8; Self::PREFIX]) -> Option<Option<DrainedBy>> {
        const ANY_LAYOUT: u64 = 0xff;

        let (words, _) = prefix.as_chunks::<8>();
        let [magic, _, _, _, unix_ms, who, _, name @ .., name_of] =
            <[_; Self::PREFIX / 8]>::try_from(words).ok()?.map(u64::from_ne_bytes);
        (magic & !ANY_LAYOUT == Self::MAGIC & !ANY_LAYOUT)
            .then(|| DrainedBy::from_words(unix_ms, who, name, name_of))
    }

    /// Whether the region has this layout.
    pub fn is_ours(&self) -> bool {
        self.magic.load(Relaxed) == Self::MAGIC
    }

    /// Starts the counters in a region of zeros.
    pub fn begin(&self, unix_ms: u64) {
        self.since_unix_ms.store(unix_ms, Relaxed);
        self.magic.store(Self::MAGIC, Relaxed);
    }

    /// Returns the start of the counters, in ms since 1970.
    pub fn since_unix_ms(&self) -> u64 {
        self.since_unix_ms.load(Relaxed)
    }

    /// Returns the counters of a worker, by its number from 1.
    pub fn worker(&self, number: usize) -> &WorkerCounters {
        &self.workers[(number - 1) % SLOTS]
    }

    /// Includes the counters of this worker from now on.
    pub fn register_worker(&self, number: usize) {
        self.slots_used.fetch_max(number.min(SLOTS) as u64, Relaxed);
    }

    /// Returns the counters of all workers so far.
    pub fn workers(&self) -> &[WorkerCounters] {
        let used = usize::try_from(self.slots_used.load(Relaxed)).unwrap_or(SLOTS).min(SLOTS);
        &self.workers[..used]
    }

    /// Whether requests get status 503.
    pub fn is_drained(&self) -> bool {
        self.drained_unix_ms.load(Relaxed) != 0
    }

    /// Returns the attribution of the drain; `None` if the daemon is not drained.
    pub fn drained_by(&self) -> Option<DrainedBy> {
        let name = self.drained_name.each_ref().map(|word| word.load(Relaxed));
        let name_of = self.drained_name_of.load(Relaxed);
        let (unix_ms, who) = (self.drained_unix_ms.load(Relaxed), self.drained_by.load(Relaxed));
        DrainedBy::from_words(unix_ms, who, name, name_of)
    }

    /// Drains the daemon, or with `None` resumes it.
    pub fn set_drained(&self, by: Option<DrainedBy>) {
        let (unix_ms, who) =
            // A clock that was never set may be at 0, which means that the daemon is not drained.
            by.map_or((0, 0), |by| (by.unix_ms.max(1), u64::from(by.pid) << 32 | u64::from(by.uid)));
        for (word, bytes) in self.drained_name.iter().zip(by.map_or([0; NAME_WORDS], |by| by.name)) {
            word.store(bytes, Relaxed);
        }
        self.drained_name_of.store(unix_ms, Relaxed);
        self.drained_by.store(who, Relaxed);
        self.drained_unix_ms.store(unix_ms, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    /// A process may find a region that another version has left. When this fails, give
    /// [`Region::MAGIC`] another version, and then correct this test.
    #[test]
    fn layout_is_pinned_to_its_version() {
        assert_eq!(Region::MAGIC & 0xff, 1);
        let shape = [
            offset_of!(Region, accept),
            offset_of!(Region, workers),
            size_of::<WorkerCounters>(),
            offset_of!(WorkerCounters, latency),
            size_of::<Region>(),
        ];
        assert_eq!(shape, [128, 256, 3328, 128, 256 + 2048 * 3328]);
    }

    #[test]
    fn daemon_is_drained_also_at_the_beginning_of_1970() {
        let region = super::super::shared_stats::SharedStats::create(0).unwrap();
        region.set_drained(Some(DrainedBy::new(0, 1, 2, None)));
        assert!(region.is_drained() && region.drained_by().is_some_and(|by| (by.pid, by.uid) == (1, 2)));
    }

    /// Other versions read these: they never change, not even with the layout.
    #[test]
    fn drained_state_is_at_its_fixed_offset() {
        let places = [
            offset_of!(Region, drained_unix_ms),
            offset_of!(Region, drained_by),
            offset_of!(Region, drained_name),
            offset_of!(Region, drained_name_of),
        ];
        assert_eq!((places, Region::PREFIX), ([32, 40, 56, 88], 96));
        let mut prefix = [0; Region::PREFIX];
        assert_eq!(Region::read_drained(&prefix), None, "those are no counters");
        for layout in [0, 1, 2, 0xff] {
            prefix[..8].copy_from_slice(
                &u64::from_be_bytes([b'p', b'i', b'x', b'e', b'l', b'd', 0, layout]).to_ne_bytes(),
            );
            prefix[32..40].fill(0);
            assert_eq!(Region::read_drained(&prefix), Some(None));
            prefix[32..40].copy_from_slice(&5_u64.to_ne_bytes());
            prefix[40..48].copy_from_slice(&((4711_u64 << 32) + 1000).to_ne_bytes());
            prefix[56..65].copy_from_slice(b"anna-lena");
            let unnamed = DrainedBy::new(5, 4711, 1000, None);
            assert_eq!(Region::read_drained(&prefix), Some(Some(unnamed)), "the name is of another drain");
            prefix[88..].copy_from_slice(&5_u64.to_ne_bytes());
            let by = DrainedBy::new(5, 4711, 1000, Some("anna-lena"));
            assert_eq!(Region::read_drained(&prefix), Some(Some(by)));
            assert_eq!(by.claimed_user().as_deref(), Some("anna-lena"));
            prefix[88..].fill(0);
        }
    }

    #[test]
    fn long_name_ends_with_an_ellipsis() {
        for (name, kept) in [
            ("a".repeat(32), "a".repeat(32)),
            ("a".repeat(33), "a".repeat(29) + "…"),
            ("é".repeat(20), "é".repeat(14) + "…"),
        ] {
            let by = DrainedBy::new(1, 2, 3, Some(&name));
            assert_eq!(by.claimed_user().as_deref(), Some(&*kept));
        }
    }
}
