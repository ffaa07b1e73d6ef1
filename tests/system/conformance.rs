//! The cases of the conformance suite, sent to nginx instead of pixeld.

#[path = "../it/conformance/table/mod.rs"]
mod table;

use table::{Peer, Via, play_all};

use crate::harness::{C5_OUTSIDE, deployment};

#[test]
fn conformance_cases_hold_through_nginx() {
    let site = deployment::start();
    site.client.in_its_network(|| play_all(&Peer::Tcp(C5_OUTSIDE), Via::Nginx));
    assert_eq!(site.client.post(C5_OUTSIDE, r#"{"x":1,"y":2,"channel":"R","value":3}"#).status, 200);
}
