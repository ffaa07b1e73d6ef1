//! Each event is explained in pixeld-control(7), and each one with a MESSAGE_ID in the message catalog.

use std::collections::{BTreeMap, BTreeSet};

use pixeld::log::{Event, Fields, Level};

use super::page::{PIXELD, PIXELD_CONTROL, items, part, section};

const CATALOG: &str = include_str!("../../../systemd/pixeld.catalog");

/// The text of each catalog entry, by its MESSAGE_ID.
fn catalog() -> BTreeMap<&'static str, &'static str> {
    CATALOG.split("\n-- ").skip(1).map(|entry| entry.split_once('\n').expect("an entry")).collect()
}

#[test]
fn message_ids_are_unique_and_only_debug_has_none() {
    let mut seen = BTreeSet::new();
    for kind in Event::KINDS {
        let Some(id) = kind.message_id else {
            assert_eq!(kind.level, Level::Debug, "{}", kind.name);
            continue;
        };
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert!(seen.insert(id), "{id} has two events");
    }
}

#[test]
fn catalog_explains_every_message_id_and_no_other() {
    let entries = catalog();
    assert_eq!(CATALOG.matches("\n-- ").count(), entries.len(), "an identifier has two entries");
    let ids = Event::KINDS.iter().filter_map(|kind| kind.message_id);
    assert_eq!(entries.keys().copied().collect::<BTreeSet<_>>(), ids.collect());
    for (id, entry) in entries {
        let (head, text) = entry.split_once("\n\n").expect("a text below the head");
        assert!(head.contains("Subject: ") && head.contains("\nDefined-By: pixeld\n"), "{head}");
        let (_, pages) = head.split_once("Documentation: ").expect("where to read on");
        assert!(pages.split_whitespace().all(|page| page.starts_with("man:")), "{head}");
        assert!(text.trim().replace("@REASON@", "").len() > 80, "{id} is not explained");
        assert!(entry.lines().all(|line| line.len() <= 80), "{id} is wider than 80 columns");
    }
}

#[test]
fn every_event_is_explained_at_its_level() {
    let events = section(PIXELD_CONTROL, "EVENTS");
    for level in Level::ALL {
        let explained = items(part(events, &format!(".Ss {}", level.name()), ".Ss "), "Sy");
        let of_level = Event::KINDS.iter().filter(|kind| kind.level == level).map(|kind| kind.name);
        assert_eq!(explained.into_keys().collect::<BTreeSet<_>>(), of_level.collect(), "{}", level.name());
    }
}

#[test]
fn every_journal_field_is_explained_and_no_other() {
    let heads = items(section(PIXELD, "LOGGING"), "Va").into_keys();
    let explained = heads.flat_map(|head| head.split(" , Va ")).map(|head| head.trim_end_matches('='));
    let common = ["event", "message_id"];
    let names = common.iter().chain(Fields::NAMES).map(|name| name.to_uppercase());
    assert_eq!(explained.map(String::from).collect::<BTreeSet<_>>(), names.collect());
}
