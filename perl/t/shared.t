# Mode ithreads and shared variables: threads that begin and end while others use them.
use strict;
use warnings;
use Test::More;
use Config;
use FindBin;
use lib "$FindBin::Bin/lib";
use ServerProcess qw(run_perl);

plan skip_all => 'this Perl has no threads' unless $Config{useithreads};

# The count of references to what is behind a shared variable; those that are held have plenty.
my $count = 'sub count { &threads::shared::_refcnt($_[0]) > 1 << 20 ? "held" : "free" }';

my ($status, $out) = run_perl("use Net::Daemon; $count" . <<'END');
print count(\$Net::Daemon::RegExpLock), "\n";
END
is($out, "held\n", 'the lock of this module stays from the start');

my $body = $count . <<'END';
package Finished;
our $destroyed : shared = 0;
sub DESTROY { $destroyed++ }
package Unfinished;
package Served;
use threads::shared;
our ($scalar, @array, %hash, $plain) : shared;
our $nested = &share({});
our $quiet = bless &share({}), 'Unfinished';
our $loud  = bless &share({}), 'Finished';
sub Loop {
    my $self = shift;
    return $self->say_to_log('destroyed', $Finished::destroyed) if !defined $loud;
    $self->say_to_log('counts', map { count($_) } \($scalar, @array, %hash), $nested, $quiet, $loud);
    undef $loud;
}
sub Run { my $self = shift; lock %hash; $hash{ threads->tid() } = 1; $self->{socket}->print(scalar(keys %hash), "\n") }
END
my $server = ServerProcess->start(args => ['--mode=ithreads', '--loop-timeout=0.1'], body => $body);
ok($server->logs(qr/SAY counts held held held held held free$/m), 'so do those that a server starts with')
  or diag $server->log;
ok($server->logs(qr/SAY destroyed 1$/m), 'objects with destructors excepted: these are called');
is($server->ask(''), "$_\n", "connection $_ sees them") for 1 .. 3;
$server->stop;

# One thread takes and drops references all the time, another copies the variables: without more this
# ends in a crash, or in a count of 0, within a few hundred threads.
($status, $out) = run_perl($count . <<'END');
use Net::Daemon;
my $inner = &threads::shared::share({});
my %outer : shared = (inner => $inner);
my $stop : shared;
Net::Daemon::Core::keep_shared();
my $busy = threads->create(sub { until ($stop) { for (1 .. 10_000) { my $taken = $outer{inner} } } return });
threads->create(sub { return })->join for 1 .. 100;
$stop = 1;
$busy->join;
print count($inner), "\n";
END
is($status, 0,        'a hundred threads begin and end beside one that uses them');
is($out,    "held\n", 'and nothing is lost');

done_testing;
