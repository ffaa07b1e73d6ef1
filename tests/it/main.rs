//! Tests that start the programs as their users do, or use the library of the daemon; a module for each subject. What
//! needs more than `cargo test` can expect is ignored, and `make test-all` runs it.

mod clients;
mod completions;
mod conformance;
mod control;
mod daemon;
mod doctor;
mod fairness;
mod fd_limit;
mod http;
mod imports;
mod make;
mod manual;
mod many_clients;
mod metrics;
mod names;
mod operate;
mod proxies;
mod readme;
mod reference;
mod reload;
mod remote;
mod restart;
mod support;
mod top;
mod varlink;
