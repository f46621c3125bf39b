# Net::Daemon::Test: a server for a test of the program.
use strict;
use warnings;
use Test::More;
use Cwd qw(getcwd);
use File::Temp qw(tempdir);
use FindBin;
use IO::Socket::INET;
use IO::Socket::UNIX;
use lib "$FindBin::Bin/lib";
use ServerProcess qw(wait_for);
use Net::Daemon::Test;

my $here = getcwd();
my $dir  = tempdir(CLEANUP => 1);
my @libs = map { /^\// ? "-I$_" : "-I$here/$_" } grep { !ref } @INC;
chdir $dir;
open my $fh, '>', 'server.pl' or die;
print $fh <<'END';
use Net::Daemon::Test;
package Echo;
our @ISA = 'Net::Daemon::Test';
sub Run { my $s = $_[0]{socket}; while (defined(my $l = $s->getline)) { $s->print($l) } }
package main;
Echo->new({ pidfile => 'none', logfile => 'log' }, \@ARGV)->Bind;
END
close $fh;

# What Child prints, and what it returns.
sub child {
    my @args = @_;
    open my $saved, '>&', \*STDOUT;
    close STDOUT;
    my $out = '';
    open STDOUT, '>', "$dir/out";
    my @result = eval { Net::Daemon::Test->Child(@args) };
    my $error = $@;
    close STDOUT;
    open STDOUT, '>&', $saved;
    open my $in, '<', "$dir/out";
    local $/;
    return (scalar <$in>, $error, @result);
}

my @command = ($^X, @libs, 'server.pl', '--mode=single');
my ($out, $error, $handle, $port) = child(5, @command);
is($error, '', 'Child starts a server');
is($out, "Starting server: @command\n1..5\n", 'and says so, with the number of tests');
like($port, qr/^\d+$/, 'it returns the port');
my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
print $socket "hello\n";
is(ServerProcess::answer($socket), "hello\n", 'the server serves');
close $socket;
$handle->Terminate;
ok(wait_for { waitpid($$handle, POSIX::WNOHANG()) == $$handle }, 'Terminate ends it');

($out, $error, $handle, $port) = child(undef, @command, '--localpath=sock', '--debug');
is($out, "Starting server: @command --localpath=sock --debug\n", 'undef: no plan');
is($port, 'sock', 'a path instead of a port');
$socket = IO::Socket::UNIX->new(Peer => $port);
print $socket "hello\n";
is(ServerProcess::answer($socket), "hello\n", 'which serves');
$handle->Terminate;
waitpid $$handle, 0;

my $taken = IO::Socket::INET->new(Listen => 1, LocalPort => 0, LocalAddr => '0.0.0.0');
($out, $error, $handle, $port) = child(1, @command, '--localport=' . $taken->sockport);
ok($port >= 30050 && $port <= 30060, 'a port in use: another');
$handle->Terminate;
waitpid $$handle, 0;

($out, $error, $handle, $port) = child(1, @command, '--timeout=1');
my $started = time;
waitpid $$handle, 0;
is($? & 127, POSIX::SIGALRM(), '--timeout ends the server');
cmp_ok(time - $started, '<', 5, 'in time');
ok(Net::Daemon::Test->Options->{timeout}, 'an option');
chdir $here;
done_testing();
