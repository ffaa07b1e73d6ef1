//! The two hosts that most tests are about, and clients on either side.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::resume_unwind;
use std::thread;

use super::client::Client;
use super::host::Host;
use super::host_builder::HostBuilder;
use super::network::Network;
use super::root::Release;

/// c5's HTTP port in the private network.
pub const C5: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 10)), 80);
/// t2's HTTP port in the private network, the only one that t2 is in.
pub const T2: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 20)), 80);
/// c5's HTTP port on the internet.
pub const C5_OUTSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)), 80);

/// Two hosts joined by a private network (10.77.0.0/24), c5 also on an internet (203.0.113.0/24)
/// that consists of c5 and one client.
pub struct Site {
    /// In both networks.
    pub c5: Host,
    /// In the private network only.
    pub t2: Host,
    /// On the internet, 203.0.113.50.
    pub client: Client,
    /// In the private network, 10.77.0.30.
    pub insider: Client,
    /// For more clients or hosts.
    pub private: Network,
    /// For more clients or hosts.
    pub internet: Network,
}

impl Site {
    /// Boots Debian 13 hosts with pixeld installed but not enabled.
    pub fn boot() -> Self {
        Self::boot_with(HostBuilder::with_pixeld)
    }

    /// Boots hosts of another release with pixeld installed but not enabled.
    pub fn boot_release(release: Release) -> Self {
        Self::boot_with(|builder| builder.release(release).with_pixeld())
    }

    /// Boots both hosts at the same time, after a change to the builder of each.
    pub fn boot_with(change: impl Fn(HostBuilder) -> HostBuilder) -> Self {
        let (private, internet) = (Network::new(), Network::new());
        let builder = |name| change(Host::builder(name).hosts_entry("c5", C5).hosts_entry("t2", T2));
        let c5 = builder("c5").attach(&private, "lan0", "10.77.0.10/24").attach(
            &internet,
            "wan0",
            "203.0.113.10/24",
        );
        let t2 = builder("t2").attach(&private, "lan0", "10.77.0.20/24");
        let client = Client::in_network(&internet, "203.0.113.50/24");
        let insider = Client::in_network(&private, "10.77.0.30/24");

        let (c5, t2) = thread::scope(|scope| {
            let (c5, t2) = (scope.spawn(|| c5.boot()), scope.spawn(|| t2.boot()));
            (c5.join(), t2.join())
        });
        let [c5, t2] = [c5, t2].map(|host| host.unwrap_or_else(|panic| resume_unwind(panic)));
        Self { c5, t2, client, insider, private, internet }
    }
}
