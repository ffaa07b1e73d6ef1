//! Each event is explained in pixeld-control(7), and each error and warning in the catalog of messages.

use std::collections::{BTreeMap, BTreeSet};

use crate::page::{PIXELD_CONTROL, items, part, section};

const EVENTS: &str = include_str!("../../src/log/event.rs");
const MESSAGE_IDS: &str = include_str!("../../src/log/message_id.rs");
const CATALOG: &str = include_str!("../../systemd/pixeld.catalog");

/// What stands in a function of the source, which the compiler keeps complete.
fn body(function: &str) -> &'static str {
    let (_, body) = EVENTS.split_once(&format!("pub fn {function}(&self)")).expect(function);
    body.split_once("\n    }\n").expect("its end").0
}

fn variants(arms: &str) -> impl Iterator<Item = &str> {
    arms.split("Self::").skip(1).map(|arm| arm.split(|c: char| !c.is_alphanumeric()).next().unwrap())
}

/// Those that are not of the level info.
fn levels() -> BTreeMap<&'static str, String> {
    let mut levels = BTreeMap::new();
    let mut rest = body("level");
    while let Some((arms, after)) = rest.split_once("=> Level::") {
        let (level, next) = after.split_once(',').unwrap();
        levels.extend(variants(arms).map(|variant| (variant, level.to_lowercase())));
        rest = next;
    }
    levels
}

#[test]
fn the_catalog_explains_every_error_and_warning_and_nothing_else() {
    let ids: BTreeMap<_, _> = MESSAGE_IDS
        .lines()
        .filter_map(|line| line.split_once("=> \""))
        .map(|(arm, id)| (variants(arm).next().unwrap(), id.split('"').next().unwrap()))
        .collect();
    let urgent = levels().into_iter().filter(|(_, level)| level == "error" || level == "warn");
    assert_eq!(ids.keys().copied().collect::<BTreeSet<_>>(), urgent.map(|(variant, _)| variant).collect());

    let entries: BTreeMap<_, _> =
        CATALOG.split("\n-- ").skip(1).map(|entry| entry.split_once('\n').expect("an entry")).collect();
    assert_eq!(entries.keys().copied().collect::<BTreeSet<_>>(), ids.values().copied().collect());
    assert_eq!(CATALOG.matches("\n-- ").count(), ids.len(), "no identifier stands for two");
    let (_, with_reason) = EVENTS.split_once("fn line(&self)").expect("what becomes of an event");
    for (variant, id) in ids {
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        let (head, text) = entries[id].split_once("\n\n").expect("a text below the head");
        assert!(head.contains("Subject: ") && head.contains("\nDefined-By: pixeld\n"), "{head}");
        let (_, pages) = head.split_once("Documentation: ").expect("where to read on");
        assert!(pages.split_whitespace().all(|page| page.starts_with("man:")), "{head}");
        assert!(text.trim().replace("@REASON@", "").len() > 80, "{variant} is not explained");
        // journalctl fills in what the message has.
        assert!(!entries[id].contains("@WORKER@") || variant == "WorkerStuck", "{variant}");
        assert!(
            !text.contains("@REASON@") || with_reason.contains(&format!("Self::{variant} {{")),
            "{variant}"
        );
        let width = entries[id].lines().map(str::len).max();
        assert!(width <= Some(80), "{variant}");
    }
}

#[test]
fn every_event_is_explained_at_its_level_and_no_other() {
    let levels = levels();
    let mut events: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for arm in body("name").lines().filter(|line| line.contains("=> \"")) {
        let variant = variants(arm).next().unwrap();
        let level = levels.get(variant).cloned().unwrap_or("info".into());
        events.entry(level).or_default().insert(arm.split('"').nth(1).unwrap());
    }
    assert!(events["error"].contains("workerStuck") && events["info"].contains("ready"), "{events:?}");
    for (level, events) in events {
        let explained = items(part(section(PIXELD_CONTROL, "EVENTS"), &format!(".Ss {level}"), ".Ss "), "Sy");
        assert_eq!(explained.into_keys().collect::<BTreeSet<_>>(), events, "{level}");
    }
}
