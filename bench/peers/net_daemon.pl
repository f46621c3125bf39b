#!/usr/bin/perl
# net_daemon.pl MODE PORT - the same echo on Perl's Net::Daemon (Debian: libnet-daemon-perl).
# MODE: single, fork, ithreads, childs (eight worker processes). It logs one line when it starts, and
# nothing per connection.
use strict;
use warnings;

package Echo;
use Net::Daemon;
our @ISA = ('Net::Daemon');

sub Run {
	my ($self) = @_;
	my $socket = $self->{socket};
	$socket->autoflush(1);
	while (defined(my $line = $socket->getline)) {
		$socket->print($line) or last;
	}
	$socket->close;
}

package main;
my ($mode, $port) = @ARGV;
$SIG{PIPE} = 'IGNORE';
Echo->new({
	($mode eq 'childs' ? (childs => 8) : (mode => $mode)),
	localaddr => '127.0.0.1',
	localport => $port,
	listen    => 1024,
	pidfile   => 'none',
	logfile   => '/dev/null',
}, [])->Bind;
