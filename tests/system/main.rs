//! System tests: pixeld on real hosts. `make test-system` runs them, as root.

mod boot;
mod harness;
