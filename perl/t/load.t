# Loading: what subclasses use without loading it, and the names that are public.
use strict;
use warnings;
use Test::More;
use Config;

my %before = %INC;
require_ok('Net::Daemon');
for my $file (qw(Net/Daemon/Log.pm Getopt/Long.pm Symbol.pm IO/Socket.pm IO/Socket/INET.pm
    IO/Socket/UNIX.pm POSIX.pm File/Spec.pm))
{
    ok($INC{$file}, "$file is loaded with it");
}
SKIP: {
    skip "this Perl has no threads", 3 unless $Config{useithreads};
    ok($INC{'threads.pm'}, 'threads is loaded');
    ok($INC{'threads/shared.pm'}, 'threads::shared is loaded');
    ok(threads::shared::is_shared(\$Net::Daemon::RegExpLock), '$RegExpLock can be locked in threads');
}
is($Net::Daemon::RegExpLock, 1, '$RegExpLock');
{ no warnings "once"; ok(!$Net::Daemon::exit, '$exit'); }
is_deeply(\@Net::Daemon::ISA, ['Net::Daemon::Log'], '@ISA');
cmp_ok($Net::Daemon::VERSION, '>', 0.52, '$VERSION is above the last of the original');
is(Net::Daemon->VERSION, $Net::Daemon::VERSION, 'VERSION as a method');

# A client of RPC::PlServer may call any method: none but those of the manual.
my %public = (
    'Net::Daemon' => [qw(Accept Bind ChildFunc Clone Close Done HandleChild Loop Options ReadConfigFile
          Run ServClose SigChildHandler Usage Version new)],
    'Net::Daemon::Log' => [qw(Debug Error Fatal Log LogTime OpenLog)],
);
for my $package (sort keys %public) {
    no strict 'refs';
    my @subs = sort grep { defined &{"${package}::$_"} } keys %{"${package}::"};
    is_deeply(\@subs, $public{$package}, "methods of $package");
}
require_ok('Net::Daemon::Test');
ok(Net::Daemon::Test->isa('Net::Daemon'), 'Net::Daemon::Test is one');
is(prototype('Net::Daemon::Accept'), '$', 'prototypes are as they were');
is(prototype('Net::Daemon::Clone'), '$$');
is(prototype('Net::Daemon::Log::Log'), '$$$;@');

SKIP: {
    skip 'this Perl has no threads', 1 unless $Config{useithreads};
    my @libs = map { "-I$_" } grep { !ref } @INC;
    open my $out, '-|', $^X, @libs, '-e',
      'BEGIN { $INC{"forks.pm"} = 1 } require Net::Daemon; print $INC{"threads.pm"} ? "threads" : "none"';
    is(scalar <$out>, 'none', 'forks.pm stands in for threads');
}
done_testing();
