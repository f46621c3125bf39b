#!/usr/bin/perl
# net_server.pl PERSONALITY PORT - the same echo on Perl's Net::Server (Debian: libnet-server-perl).
# PERSONALITY: Fork, PreFork.
use strict;
use warnings;

package Echo;
our @ISA;

sub process_request {
	my ($self) = @_;
	my $client = $self->{server}{client};
	$client->autoflush(1);
	while (defined(my $line = <$client>)) {
		print $client $line or last;
	}
}

package main;
my ($personality, $port) = @ARGV;
die "usage: net_server.pl Fork|PreFork PORT\n" if $personality !~ /^(?:Pre)?Fork$/;
require "Net/Server/$personality.pm";
@Echo::ISA = ("Net::Server::$personality");
Echo->run(
	host      => '127.0.0.1',
	port      => $port,
	ipv       => 4,
	listen    => 1024,
	log_level => 0,
	log_file  => '/dev/null',
	# PreFork: a child serves one connection at a time, so the 64 of the ping-pong need as many;
	# no child is to be replaced in the middle of a run.
	min_servers  => 8,
	max_servers  => 100,
	max_requests => 1_000_000_000,
	# Fork: the default of 256 would refuse what the hold test opens.
	($personality eq 'Fork' ? (max_servers => 20_000) : ()),
);
