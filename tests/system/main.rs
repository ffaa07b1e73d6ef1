//! pixeld on real hosts: Debian with its own systemd, journald and nginx. Needs root.

mod boot;
mod conformance;
mod control;
mod counters;
mod delivery;
mod deploy;
mod doctor;
mod drop_ins;
mod failover;
mod first_run;
mod harness;
mod metrics;
mod nginx;
mod package;
mod pictures;
mod proxying;
mod reexec;
mod remote;
mod restart;
mod sandbox;
mod service;
mod soak;
mod stop;
mod storm;
mod user_unit;
mod wedge;
