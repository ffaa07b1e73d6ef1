//! pixeld-control(7) says what the control interface really does, no less and no more.

use std::collections::BTreeSet;

use zlink_idl::{CustomType, Field, Interface};

use super::page::{PIXELD_CONTROL, items, marked, part, section};

const CONTROL: &str = include_str!("../../../crates/pixeld-control/src/io.pixeld.Control.varlink");
const SYSTEMD: &str = include_str!("../../../crates/pixeld-control/src/io.systemd.service.varlink");

fn described(description: &'static str) -> Interface<'static> {
    description.try_into().expect("the description is valid Varlink")
}

fn names<'f>(fields: impl Iterator<Item = &'f Field<'static>>) -> BTreeSet<&'f str> {
    fields.map(|field| field.name().as_str()).collect()
}

fn assert_explained<'f>(what: &str, text: &str, fields: impl Iterator<Item = &'f Field<'static>>) {
    let missing: Vec<_> = names(fields).difference(&marked(text, "Va")).map(ToString::to_string).collect();
    assert!(missing.is_empty(), "{what}: {missing:?}");
}

/// Each method as the page heads it: `WatchStats "intervalMs: ?int"`.
fn assert_methods_stand_in(text: &str, interface: &Interface<'static>) {
    let mut heads = items(text, "Fn");
    for method in interface.methods() {
        let inputs: String =
            method.inputs().map(|input| format!(" \"{}: {}\"", input.name(), input.ty())).collect();
        let head = format!("{}{inputs}", method.name());
        let text = heads.remove(head.as_str()).unwrap_or_else(|| panic!("{head} is not explained"));
        assert_explained(&head, text, method.outputs());
    }
    assert!(heads.is_empty(), "{:?} do not exist", heads.keys());
}

#[test]
fn every_method_is_explained_and_no_other() {
    assert_methods_stand_in(section(PIXELD_CONTROL, "METHODS"), &described(CONTROL));
    let others = section(PIXELD_CONTROL, "OTHER INTERFACES");
    assert_methods_stand_in(part(others, ".Ss io.systemd.service", ".Ss "), &described(SYSTEMD));
}

#[test]
fn every_type_is_explained_and_no_other() {
    let interface = described(CONTROL);
    let types = section(PIXELD_CONTROL, "TYPES");
    let explained = items(types, "Vt");
    for ty in interface.custom_types() {
        match ty {
            CustomType::Object(object) => {
                assert_explained(object.name().as_str(), explained[object.name().as_str()], object.fields());
            }
            CustomType::Enum(choice) => {
                for variant in choice.variants() {
                    assert!(types.contains(&format!(".Ql {}", variant.name())), "{}", variant.name());
                }
            }
        }
    }
    let known: BTreeSet<_> = interface.custom_types().map(|ty| ty.name().as_str()).collect();
    assert_eq!(marked(PIXELD_CONTROL, "Vt"), known);
}

#[test]
fn every_error_is_explained_and_no_other() {
    let interface = described(CONTROL);
    let explained = items(section(PIXELD_CONTROL, "ERROR REPLIES"), "Er");
    for error in interface.errors() {
        assert_explained(error.name().as_str(), explained[error.name().as_str()], error.fields());
    }
    assert_eq!(explained.len(), interface.errors().count(), "{:?}", explained.keys());
}

#[test]
fn named_fields_exist() {
    let interface = described(CONTROL);
    let mut known = BTreeSet::new();
    for method in interface.methods() {
        known.extend(names(method.inputs().chain(method.outputs())));
    }
    for object in interface.custom_types().filter_map(CustomType::as_object) {
        known.extend(names(object.fields()));
    }
    for error in interface.errors() {
        known.extend(names(error.fields()));
    }
    known.insert("more"); // a part of the protocol
    for title in ["METHODS", "TYPES", "ERROR REPLIES"] {
        let unknown: Vec<_> =
            marked(section(PIXELD_CONTROL, title), "Va").difference(&known).copied().collect();
        assert!(unknown.is_empty(), "{title}: {unknown:?}");
    }
}
