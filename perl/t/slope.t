# Memory does not rise with connections: once it has warmed up, the process that accepts is as large
# after thousands more as it was before, to 8 bytes a connection. The smallest thing that can be lost,
# one allocation of the C library, takes 32.
#     CONNECTIONS=100000 prove -bv t/slope.t
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use ServerProcess qw(modes wait_for);
use Net::Daemon;

plan skip_all => 'needs /proc' unless -e "/proc/$$/statm";
my $many = $ENV{CONNECTIONS} || 3000;
my $warm = 1000;

# One heap for all threads, or it would depend on their timing in how many heaps free memory lies.
$ENV{MALLOC_ARENA_MAX} = 1;

# By mode: the part of the connections that is made, what each may cost, and how much the size goes up
# and down by itself, which with threads is a few interpreters of 2 MB; threads that are kept cost 900 MB.
my %limit = (
    single   => [1,     8,   16 << 10],
    fork     => [1,     8,   16 << 10],
    childs   => [1,     8,   16 << 10],
    ithreads => [0.15,  512, 32 << 20],
);

# Loop answers questions once all threads of connections are gone: a file named "ask" is replaced by one
# named "size".
my $body = <<'END';
sub Run { my $s = $_[0]{socket}; my $line = $s->getline; $s->print($line) if defined $line }
sub entries { opendir my $dir, shift or die; return scalar grep { !/^\./ } readdir $dir }
sub Loop {
    return unless -e "$main::dir/ask" && entries("/proc/$$/task") == 1;
    open my $statm, '<', "/proc/$$/statm" or die;
    my $pages = (split ' ', <$statm>)[1];
    my $open = entries("/proc/$$/fd");
    open my $out, '>', "$main::dir/new" or die;
    print $out $pages * POSIX::sysconf(POSIX::_SC_PAGESIZE()), " $open\n";
    close $out;
    unlink "$main::dir/ask";
    rename "$main::dir/new", "$main::dir/size";
}
END

# (bytes in memory, open descriptors) of the process that accepts
sub size_of {
    my $dir = shift->dir;
    unlink "$dir/size";
    open my $ask, '>', "$dir/ask" or die;
    wait_for { -e "$dir/size" } or return;
    open my $in, '<', "$dir/size" or die;
    return split ' ', <$in>;
}

sub talk {
    my ($server, $times) = @_;
    return scalar grep { ($server->ask("x\n") // '') ne "x\n" } 1 .. $times;
}

for (modes()) {
    my ($mode, @args) = @$_;
    my ($part, $each, $slack) = @{ $limit{$mode} };
    my $times = int($many * $part);
    # One worker, so that it is always the same process that is asked.
    my $server = ServerProcess->start(
        args => [$mode eq 'childs' ? '--childs=1' : @args, '--loop-timeout=0.05'],
        attr => 'clients => [{ mask => "^127", accept => 1 }]', body => $body);
    size_of($server);    # what answers has its own first time
    my $failed = talk($server, $warm * ($part < 1 ? 0.5 : 1));
    my ($before, $fds) = size_of($server);
    $failed += talk($server, $times);
    my ($after, $fds_after) = size_of($server);
    is($failed, 0, "$mode: all are served");
    ok($before && $after, "$mode: and the server says how large it is") or next;
    note sprintf '%s: %d bytes before, %+d after %d connections: %.1f each', $mode, $before,
      $after - $before, $times, ($after - $before) / $times;
    cmp_ok($after - $before, '<=', $slack + $each * $times, "$mode: memory does not rise");
    cmp_ok($fds_after, '<=', $fds + 1, "$mode: nor do descriptors");
}
done_testing();
