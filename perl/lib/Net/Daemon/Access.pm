package Net::Daemon::Access;

# Who may: the rules of the attribute "clients", and what is known of the other end.
#
# Happy path: peer() for a connection, then rule_for(): the first rule that is met. Failure modes: a
# rule in doubt (a mask that does not compile, a net that is none) never lets in and is met when it
# denies; a peer without an address meets nothing.

use strict;
use warnings;

use Socket            ();
use Net::Daemon::Core ();

our $VERSION = '1.00';

# What is known of the other end of this connection.
sub peer {
    my ($socket, $proto, $strict) = @_;
    return { unix => 1, names => ['localhost'], text => '127.0.0.1' } if $proto eq 'unix';

    my $peeraddr = UNIVERSAL::can($socket, 'peeraddr');    # what else there is takes longer
    my $packed = $peeraddr ? $peeraddr->($socket) : _ask($socket, 'peeraddr');
    my $text   = Net::Daemon::Core::address_text($packed) // _ask($socket, 'peerhost');
    return { packed => $packed, text => $text, strict => $strict };
}

# The other end in words of the log.
sub words {
    my ($socket, $proto) = @_;
    return 'Unix socket' if $proto eq 'unix';
    my $host = _ask($socket, 'peerhost') // 'unknown';
    my $port = _ask($socket, 'peerport') // 0;
    return "$host, port $port";
}

# undef, and nobody hears of it, where the socket has no such method.
sub _ask {
    my ($socket, $method) = @_;
    local ($@, $SIG{__DIE__});
    return scalar eval { $socket->$method() };
}

# The first rule that this peer meets; undef: none. complain is told of broken rules.
sub rule_for {
    my ($clients, $peer, $complain) = @_;
    return undef unless defined $peer->{text} && ref $clients eq 'ARRAY';
    local ($@, $SIG{__DIE__});
    for my $rule (@$clients) {
        next unless ref $rule;
        my $met = _meets($rule, $peer, $complain);
        return $rule if defined $met ? $met : !$rule->{'accept'};
    }
    return undef;
}

# True, false, or undef for doubt.
sub _meets {
    my ($rule, $peer, $complain) = @_;
    my $inside = defined $rule->{'net'} ? _inside($rule->{'net'}, $peer, $complain) : 1;
    return $inside unless $inside;
    my $mask = $rule->{'mask'};
    return 1 unless $mask;
    return _matches(ref $mask eq 'ARRAY' ? $mask : [$mask], $peer, $complain);
}

sub _inside {
    my ($nets, $peer, $complain) = @_;
    my $doubt;
    for my $net (ref $nets eq 'ARRAY' ? @$nets : $nets) {
        my $has = eval { Net::Daemon::Core::net_has($net // '', $peer->{packed}) ? 1 : 0 };
        return 1 if $has;
        next if defined $has;
        $complain->("net: $@");
        $doubt = 1;
    }
    return $doubt ? undef : 0;
}

sub _matches {
    my ($masks, $peer, $complain) = @_;
    my ($doubt, @by_name);
    for my $mask (@$masks) {
        return 1 unless $mask;
        my $matches = _search($mask, $peer->{text}, $complain);
        return 1 if $matches;
        $doubt = 1 unless defined $matches;
        push @by_name, $mask if defined $matches && needs_name($mask);
    }
    if (@by_name) {
        my @names = names($peer);
        for my $name (@names) {
            for my $mask (@by_name) {
                return 1 if _search(qr/$mask/i, $name, $complain);
            }
        }
        $doubt = 1 if !@names && $peer->{strict};
    }
    return $doubt ? undef : 0;
}

sub _search {
    my ($mask, $text, $complain) = @_;
    my $found = eval { no warnings; $text =~ /$mask/ ? 1 : 0 };
    $complain->("mask: $@") unless defined $found;
    return $found;
}

# Can this mask be meant for names? One that is about addresses only is not: digits, dots, colons,
# and what regular expressions need. So nobody gets in by calling his host 192.168.1.1.example.
sub needs_name {
    my $mask = shift;
    $mask =~ s/\A\(\?\^?[a-z]*(?:-[a-z]+)?:(.*)\)\z/$1/s;    # qr//
    my $address = $mask =~ /[0-9:]|\\d/;
    my $hex     = $mask =~ /:/ ? 'a-fA-F' : '';
    $mask =~ s/\\[dAzZ.:]|\(\?://g;
    return !$address || $mask =~ /[^0-9$hex:.^\$|()\[\]{}*+?, -]/;
}

# The names that lead back to the address; looked up once, and only when a mask asks for them.
sub names {
    my $peer = shift;
    $peer->{names} ||= [_names($peer->{packed})];
    return @{ $peer->{names} };
}

sub _names {
    my $packed = shift;
    my %seen;
    return grep { !$seen{$_}++ } map { lc } Net::Daemon::Core::names($packed), _aliases($packed);
}

# Where the machine's own names are. DNS is not asked for aliases: who sends more than one name for
# an address sends them in any order.
our $Hosts = '/etc/hosts';

sub _aliases {
    my $text = Net::Daemon::Core::address_text(shift) // return;
    open my $fh, '<', $Hosts or return;
    local $/ = "\n";
    local $.;
    my @aliases;
    while (my $line = <$fh>) {
        my ($address, @names) = split ' ', $line =~ s/#.*//sr;
        next unless @names;
        my $packed = Socket::inet_pton($address =~ /:/ ? Socket::AF_INET6() : Socket::AF_INET(), $address);
        push @aliases, @names if $text eq (Net::Daemon::Core::address_text($packed) // '');
    }
    return @aliases;
}

1;
