# Memory and descriptors: the same after many connections as after a few.
#     LEAK_CONNECTIONS=100000 prove -b t/leak.t
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use ServerProcess qw(modes);
use Net::Daemon;

plan skip_all => 'needs /proc' unless -e "/proc/$$/statm";
my $many = $ENV{LEAK_CONNECTIONS} || 600;
my $body = <<'END';
sub status {
    open my $statm, '<', "/proc/$$/statm";
    my ($pages) = (split ' ', <$statm>)[1];
    my $fds = () = glob "/proc/$$/fd/*";
    return "$pages $fds\n";
}
sub Run {
    my ($self) = @_;
    my $s = $self->{socket};
    my $l = $s->getline // '';
    $s->print($l =~ /status/ ? status() : $l);
}
sub Loop { my $self = shift; open my $fh, '>', "$main::dir/status"; print $fh status(); close $fh }
END

# (pages, descriptors) of the process that accepts.
sub status_of {
    my $server = shift;
    my $file   = $server->dir . '/status';
    unlink $file;
    ServerProcess::wait_for(sub { -s $file }) or return (0, 0);
    open my $fh, '<', $file or return (0, 0);
    return split ' ', <$fh>;
}

for (modes()) {
    my ($mode, @args) = @$_;
    my $n = $mode eq 'ithreads' ? $many / 10 : $many;
    my $server = ServerProcess->start(args => [$mode eq 'childs' ? '--childs=1' : @args, '--loop-timeout=0.1'],
        attr => 'clients => [{ mask => "^127", accept => 1 }]', body => $body);
    $server->ask("x\n") for 1 .. $n / 4;
    my ($pages, $fds) = status_of($server);
    my $failed = 0;
    for (1 .. $n) { $failed++ unless defined $server->ask("x\n") }
    is($failed, 0, "$mode: all are served");
    my ($pages_after, $fds_after) = status_of($server);
    my $growth = ($pages_after - $pages) * 4096;
    cmp_ok($growth, '<', ($mode eq 'ithreads' ? 8192 * 1024 : 256 * 1024) + $n * 8, "$mode: memory ($growth bytes more)");
    cmp_ok($fds_after, '<=', $fds + 2, "$mode: descriptors");
}

SKIP: {
    skip 'Test::LeakTrace is not installed', 4 unless eval { require Test::LeakTrace; 1 };
    package Mock;
    sub new { bless {}, shift }
    sub peerhost { '127.0.0.1' }
    sub peerport { 1 }
    sub peeraddr { "\x7f\0\0\1" }
    package main;
    open my $null, '>', '/dev/null';
    my $daemon = bless { proto => 'tcp', mode => 'single', logfile => $null, socket => Mock->new,
        clients => [{ net => '127.0.0.0/8', mask => 'localhost', accept => 1 }] }, 'Net::Daemon';
    Test::LeakTrace::no_leaks_ok(sub { $daemon->Accept }, 'Accept');
    Test::LeakTrace::no_leaks_ok(sub { $daemon->Clone($daemon->{socket}) }, 'Clone');
    Test::LeakTrace::no_leaks_ok(sub { $daemon->Log('notice', "x %s \e", 1) }, 'Log');
    Test::LeakTrace::no_leaks_ok(sub { eval { Net::Daemon::Core::net_has('x', 'y') };
        Net::Daemon::Core::address_text(undef) }, 'errors of the core');
}
done_testing();
