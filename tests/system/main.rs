//! pixeld on real hosts: Debian with its own systemd, journald and nginx. Needs root.

mod boot;
mod conformance;
mod control;
mod delivery;
mod doctor;
mod failover;
mod harness;
mod metrics;
mod service;
