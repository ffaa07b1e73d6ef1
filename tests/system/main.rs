//! pixeld on real hosts: Debian with its own systemd, journald and nginx. Needs root.

mod boot;
mod conformance;
mod control;
mod counters;
mod delivery;
mod deploy;
mod doctor;
mod drop_ins;
mod exhaustion;
mod failover;
mod harness;
mod kernel;
mod metrics;
mod nginx;
mod package;
mod proxying;
mod quickstart;
mod reexec;
mod remote;
mod restart;
mod sandbox;
mod service;
mod stalls;
mod stop;
mod user_unit;
