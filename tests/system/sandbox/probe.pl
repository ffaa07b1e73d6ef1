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

# Whom it could ask to do what it may not itself, and where it could leave something.
sub reaches {
    my ($path) = @_;
    for my $type (SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET) {
        socket(my $socket, AF_UNIX, $type, 0) or next;
        $socket->blocking(0);
        return 1 if connect($socket, pack_sockaddr_un($path)) || $!{EAGAIN};
    }
    return 0;
}

sub can_create {
    my ($path) = @_;
    return open(my $file, ">", $path) && unlink($path);
}

my @folders = ("/");
while (defined(my $folder = pop @folders)) {
    report("folder $folder", "writable") if can_create("$folder/.probe");
    opendir(my $entries, $folder) or next;
    for my $path (map { $folder eq "/" ? "/$_" : "$folder/$_" } grep { !/^\.\.?$/ } readdir($entries)) {
        # What the kernel shows there is its own, and the unit protects it otherwise.
        next if -l $path || $path =~ m{^/(proc|sys)$};
        push @folders, $path if -d _;
        report("file $path", "writable") if -f _ && open(my $file, "+<", $path);
        report("socket $path", "connected") if -S _ && reaches($path);
    }
}

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
