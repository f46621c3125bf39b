# No use of memory that is not ours, and none of ours that is lost: servers under valgrind.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
BEGIN { $ENV{TEST_PATIENCE} = 6 * ($ENV{TEST_PATIENCE} || 1) }    # all is slower by an order
use ServerProcess qw(wait_for);
use IO::Socket::UNIX;
use Net::Daemon;

my ($valgrind) = grep { -x } map { "$_/valgrind" } split /:/, $ENV{PATH};
plan skip_all => 'needs valgrind' unless $valgrind;

# What valgrind complains about: errors of any kind, and memory of this module that nothing points to.
# What Perl itself leaves behind when it ends is Perl's.
sub complaints {
    my $dir = shift;
    my @found;
    for my $file (glob "$dir/valgrind.*") {
        open my $in, '<', $file or die "$file: $!";
        my $text = do { local $/; <$in> };
        $text =~ s/^==\d+== ?//mg;
        for my $record (split /\n\n+/, $text) {
            push @found, $record if $record =~ /\S/ && ($record !~ /definitely lost/ || $record =~ /Core\.so/);
        }
    }
    return @found;
}

sub start {
    my ($mode, %want) = @_;
    my $perl  = $^X;
    my $files = '%q{VALGRIND_LOGS}/valgrind.%p';
    local $^X = $valgrind;
    local $ENV{VALGRIND_LOGS} = File::Temp::tempdir(CLEANUP => 1);
    my $server = ServerProcess->start(
        args => ["--mode=$mode", '--loop-timeout=0.2', '--debug'],
        perl => ['-q', '--leak-check=full', '--show-leak-kinds=definite', "--log-file=$files", $perl], %want);
    $server->{logs} = $ENV{VALGRIND_LOGS};
    return $server;
}

my $attr = q{clients => [{ mask => 'nobody', accept => 0 }, { net => '10.0.0.0/8', accept => 0 },
    { net => '127.0.0.0/8', mask => ['^127', '^localhost'], accept => 1 },
    { mask => '^localhost$', accept => 1 }],
    bind => ["unix:$main::dir/sock"], pidfile => "$main::dir/pid"};

for my $mode (qw(single fork)) {
    my $server = start($mode, attr => $attr, body => 'sub Loop { }');
    is($server->ask("hello $_\n"), "hello $_\n", "$mode: serves") for 1 .. 5;
    my $unix = IO::Socket::UNIX->new(Peer => $server->dir . '/sock');
    is($server->ask("there\n", $unix), "there\n", 'a Unix socket');
    close $unix;
    my $gone = $server->connect;
    setsockopt $gone, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'ii', 1, 0;
    close $gone;
    is($server->ask("%n\e\n"), "%n\e\n", 'after a reset');
    ok(wait_for { 8 == (() = $server->log =~ /Child terminating/g) }, 'each connection comes to its end');
    ok($server->stop, 'it ends');
    is($server->status, 0, 'cleanly');
    is_deeply([complaints($server->{logs})], [], 'and valgrind has nothing to say');
}

# That it would be seen.
my $wrong = start('single', body => 'sub Loop { unpack "p", pack "J", 16 }');
ok($wrong->ends, 'a wild pointer ends a server');
like("@{[complaints($wrong->{logs})]}", qr/Invalid read/, 'and is among the complaints');
done_testing();
