package Net::Daemon::Test;

use strict;
use warnings;

use IO::Socket        ();
use Symbol            ();
use Net::Daemon       ();

our $VERSION = '1.00';
our @ISA     = qw(Net::Daemon);

# Where a server leaves the port (or the path) it listens at, for the test that has started it.
my $port_file = 'ndtest.prt';

# Ports that are tried when the one asked for cannot be had.
my @spare_ports = (30050 .. 30060);

# Seconds a test waits for its server.
my $start_time = 20;

sub Options ($) {
    my $self    = shift;
    my $options = $self->SUPER::Options();
    $options->{'timeout'} = {
        'template'    => 'timeout=i',
        'description' => '--timeout <secs>        The server ends after so many seconds',
    };
    return $options;
}

# Just this, whatever the program has print add.
my $print = sub {
    my $fh = shift;
    local ($,, $\);
    return print $fh @_;
};

# The first address that can be had.
my $open_socket = sub {
    my ($self, $core) = @_;
    my @addresses;

    $self->{'proto'} ||= $self->{'localpath'} ? 'unix' : 'tcp';
    if ($self->{'proto'} eq 'unix') {
        @addresses = 'unix:' . ($self->{'localpath'} || die 'Missing option: localpath');
    }
    else {
        @addresses = map { Net::Daemon::Serving::tcp_address($self->{'localaddr'}, $_) }
          $self->{'localport'}, @spare_ports;
    }
    for my $address (@addresses) {
        my ($socket) = Net::Daemon::Core::quietly(
            sub { Net::Daemon::Serving::open_sockets($core, $self, $address) });
        return $socket if $socket;
    }
    die "Cannot create socket: $@";
};

# Without a port any free one will do; then the server goes on as it always does.
sub Bind ($) {
    my $self = shift;
    my $core = Net::Daemon::Core->new();    # removes the path of a Unix socket when we are left

    $self->{'socket'} ||= $open_socket->($self, $core);
    my $port = $self->{'proto'} eq 'unix' ? $self->{'localpath'} : $self->{'socket'}->sockport();
    my $fh = Symbol::gensym();
    open($fh, '>', $port_file) && $print->($fh, $port) && close($fh)
      or die "Error while creating '$port_file': $!";
    $self->Debug("Created $port_file with port " . Net::Daemon::Core::literal($port));
    alarm $self->{'timeout'} if $self->{'timeout'};
    $self->SUPER::Bind();
}

# For subclasses to do; the time limit of Bind applies.
sub Run ($) {
    my $self = shift;
    $self->SUPER::Run();
}

# Start a server process, tell the harness how many tests there will be, and wait until the server
# listens. Returns an object with the method Terminate, and the port.
sub Child ($$@) {
    my ($class, $tests, @command) = @_;

    $print->(\*STDOUT, 'Starting server: ', join(' ', @command), "\n");
    unlink $port_file;
    my $pid = fork;
    if (!defined $pid) {
        $print->(\*STDOUT, "1..0\n");
        exit 0;
    }
    if (!$pid) {
        exec @command or do {
            $print->(\*STDERR, "Cannot run $command[0]: $!\n");
            POSIX::_exit(1);
        };
    }
    my $handle = bless \$pid, 'Net::Daemon::Test::Fork';

    $print->(\*STDOUT, "1..$tests\n") if defined $tests;
    my $end = Net::Daemon::Core::now() + $start_time;
    until (-s $port_file) {
        die "Server process didn't create a file '$port_file'." if Net::Daemon::Core::now() > $end;
        select undef, undef, undef, 0.05;
    }
    open my $fh, '<', $port_file or die "Error while reading '$port_file': $!";
    read $fh, my $port, -s $fh;
    die "Error while reading '$port_file': it is empty" unless defined $port;
    return ($handle, $port);
}

package Net::Daemon::Test::Fork;

sub Terminate ($) {
    my $self = shift;
    kill 'TERM', $$self;
}

1;
