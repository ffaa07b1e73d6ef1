# Runs in place of pixeld, in its sandbox: what could somebody do who has taken the daemon over?
# Each line that it writes is "WHAT: OUTCOME".
use strict;
use warnings;
use Errno qw(EINPROGRESS);
use IO::Handle;
use Socket qw(:DEFAULT AF_INET6 inet_pton pack_sockaddr_in6 SOL_SOCKET SO_ERROR SO_REUSEADDR);

STDOUT->autoflush(1);
my @targets = @ARGV;

sub report { print shift, ": ", shift, "\n" }

# Perl's Socket has no names for these two.
my %families = (AF_INET => AF_INET, AF_INET6 => AF_INET6, AF_NETLINK => 16, AF_PACKET => 17);
for my $name (sort keys %families) {
    my $type = $families{$name} > 15 ? SOCK_RAW : SOCK_STREAM;
    report("socket $name", socket(my $socket, $families{$name}, $type, 0) ? "made" : "refused");
}
report("shell", system("/bin/sh", "-c", ":") == 0 ? "runs" : "refused");

# Ends what the socket was connected to, or listened for, and connects it to somebody else.
sub turn_to {
    my ($socket, $address) = @_;
    connect($socket, pack("S x26", AF_UNSPEC)) or return "cannot be disconnected: $!";
    my $to = pack_sockaddr_in6(80, inet_pton(AF_INET6, "::ffff:$address"));
    $socket->blocking(0);
    unless (connect($socket, $to)) {
        return "refused" unless $! == EINPROGRESS;
        my $writable = "";
        vec($writable, fileno($socket), 1) = 1;
        return "refused" unless select(undef, $writable, undef, 2);
        return "refused" if unpack("i", getsockopt($socket, SOL_SOCKET, SO_ERROR));
    }
    return "connected";
}

for my $number (3 .. 2 + $ENV{LISTEN_FDS}) {
    open(my $listener, "+<&=", $number) or die "descriptor $number: $!";
    my $name = getsockname($listener);
    next unless defined $name && length($name) && sockaddr_family($name) == AF_INET6;
    report("port 8000", "passed");
    accept(my $accepted, $listener) or die "accept: $!";
    report("accepted, to $_", turn_to($accepted, $_)) for @targets;
    report("inherited, to $_", turn_to($listener, $_)) for @targets;
}
report("probe", "done");
