//! Every input that the fuzz targets started from or found once (see fuzz/README.md) is checked again as they
//! check it. This is no integration test, because those start processes. Until such a process runs its program, it
//! has copies of the sockets of these tests, so a closed connection ends later.

#[path = "../fuzz/src/checks/mod.rs"]
mod checks;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

fn replay(target: &str, check: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let (mut inputs, mut failed) = (0, Vec::new());
    for folder in ["seeds", "corpus"].map(|kind| fuzz.join(kind).join(target)) {
        // The corpus of a target is committed only after fuzzing has found something.
        let Ok(files) = fs::read_dir(&folder) else { continue };
        for file in files {
            let path = file.expect("a file of the corpus").path();
            let input = fs::read(&path).expect("a file that can be read");
            if catch_unwind(AssertUnwindSafe(|| check(&input))).is_err() {
                eprintln!("Failed: {}", path.display());
                failed.push(path);
            }
            inputs += 1;
        }
    }
    assert!(failed.is_empty(), "{} of {inputs} inputs failed, see above: {failed:#?}", failed.len());
    assert!(inputs >= 20, "only {inputs} inputs for {target}");
}

#[test]
fn bodies_are_judged_as_by_the_oracle() {
    replay("body", checks::body);
}

#[test]
fn split_connections_get_http_responses() {
    replay("connection", checks::connection);
}

#[test]
fn segments_do_not_change_the_responses() {
    replay("segments", checks::segments);
}

#[test]
fn segments_do_not_change_the_parsed_head() {
    replay("head", checks::head);
}

#[test]
fn chunked_requests_are_answered_as_others() {
    replay("chunks", checks::chunks);
}
