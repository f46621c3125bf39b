# What a user can switch on without touching the class: several addresses, limits, draining, modes of
# sockets, rights of programs.
use strict;
use warnings;
use Test::More;
use Config;
use FindBin;
use lib "$FindBin::Bin/lib";
use ServerProcess qw(wait_for free_port modes);

my $root    = $> == 0;
my @threads = $Config{useithreads} ? ('ithreads') : ();

for (modes()) {
    my ($mode, @args) = @$_;
    subtest "$mode: --bind" => sub {
        my $more   = free_port();
        my $server = ServerProcess->start(
            before => 'chdir $dir;', attr => 'clients => [{ mask => "^127", accept => 1 }]',
            args => [@args, "--bind=tcp:127.0.0.1:$more", '--bind', 'unix:a', '--bind=unix:b', '--localmode=0700'],
            body => 'sub Run { my $s = $_[0]{socket}; $s->print("$_[0]{proto} " . ref($s) . "\n") }');
        my $dir = $server->dir;
        is($server->ask(''), "tcp IO::Socket::INET\n", 'the port');
        is($server->ask('', IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $more)),
            "tcp IO::Socket::INET\n", 'another');
        for my $path ("$dir/a", "$dir/b") {
            is($server->ask('', IO::Socket::UNIX->new(Peer => $path)), "unix IO::Socket::UNIX\n", 'a path');
            is((stat $path)[2] & 0777, 0700, 'its mode');
        }
        ok($server->stop, 'it ends');
        ok(!-e "$dir/a" && !-e "$dir/b", 'the paths are gone');
        ok(wait_for { !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $more) }, 'the ports are free');
    };
}

subtest '--bind alone, and what is none' => sub {
    my $port   = free_port();
    my $server = ServerProcess->start(port => 0, args => ['--mode=single', "--bind=tcp:127.0.0.1:$port"]);
    is($server->ask("x\n", IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)), "x\n", 'serves');
    $server = ServerProcess->start(args => ['--mode=single', '--bind=127.0.0.1:1']);
    ok($server->logs(qr/err, Cannot create socket: found '127\.0\.0\.1:1', expected tcp:HOST:PORT/), 'strict');
    my $first = ServerProcess->start(args => ['--mode=single']);
    $server = ServerProcess->start(args => ['--mode=single', "--bind=tcp:127.0.0.1:@{[$first->port]}"]);
    ok($server->ends, 'one in use ends it');
};

subtest '--localaddr=*' => sub {
    require IO::Socket::IP;
    my $port   = free_port();
    my $server = ServerProcess->start(port => 0, args => ['--mode=single', '--localaddr=*', "--localport=$port"],
        attr => 'clients => [{ mask => \'^127\.0\.0\.1$\', accept => 1 }, { net => "::1", accept => 1 }]',
        body => 'sub Run { my $s = $_[0]{socket}; $s->print(ref($s) . "\n") }');
    is($server->ask('', IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)),
        "IO::Socket::IP\n", 'IPv4, and rules see it as such');
    SKIP: {
        my $six = IO::Socket::IP->new(PeerHost => '::1', PeerPort => $port) or skip 'no IPv6', 1;
        is($server->ask('', $six), "IO::Socket::IP\n", 'IPv6');
    }
};

for my $mode ('fork', @threads) {
    subtest "$mode: --max-connections" => sub {
        my $server = ServerProcess->start(args => ["--mode=$mode", '--max-connections=2']);
        my @sockets = map { $server->connect } 1 .. 3;
        is($server->ask("x\n", $sockets[$_]), "x\n", "connection $_ is served") for 0, 1;
        print { $sockets[2] } "waits\n";
        my $early = '';
        vec($early, fileno $sockets[2], 1) = 1;
        ok(!select($early, undef, undef, 0.4), 'the third waits');
        close $sockets[0];
        is(ServerProcess::answer($sockets[2]), "waits\n", 'until one has ended');
        close $sockets[$_] for 1, 2;
        is($server->ask("x\n"), "x\n", 'and so on') for 1 .. 5;
    };
}

for (modes()) {
    my ($mode, @args) = @$_;
    subtest "$mode: --drain-timeout" => sub {
        my $body = 'sub Run { my $s = $_[0]{socket}; while (defined(my $l = $s->getline)) { $s->print("$$ $l") } }';
        my $server = ServerProcess->start(args => [@args, '--drain-timeout=20'], body => $body);
        my $socket = $server->connect;
        like($server->ask("x\n", $socket), qr/^\d+ x/, 'a connection');
        kill TERM => $server->pid;
        if ($mode eq 'fork' || $mode eq 'ithreads') {
            ok(wait_for { !$server->connect(Timeout => 1) }, 'nobody else is accepted after TERM');
        }
        like($server->ask("y\n", $socket), qr/^\d+ y/, 'it goes on');
        ok(!$server->ended, 'the server waits');
        close $socket;
        ok($server->ends, 'and ends with it');

        $server = ServerProcess->start(args => [@args, '--drain-timeout=0.4'], body => $body);
        $socket = $server->connect;
        my ($pid) = split ' ', $server->ask("x\n", $socket);
        kill TERM => $server->pid;
        ok($server->ends, 'time is up: the server ends');
        is(ServerProcess::answer($socket), undef, 'and cuts the connection');
        ok(wait_for { !kill 0, $pid }, 'nothing is left');

        $server = ServerProcess->start(args => [@args, '--drain-timeout=60'], body => $body);
        $socket = $server->connect;
        ($pid) = split ' ', $server->ask("x\n", $socket);
        # Again and again: two that come before the server runs are one.
        ok(wait_for { kill TERM => $server->pid unless $server->ended; $server->ended },
            'a second TERM ends it at once');
        ok(wait_for { !kill 0, $pid }, 'with all that serves');
    };
}

subtest '--user and programs' => sub {
    plan skip_all => 'needs root and /proc' unless $root && -e '/proc/self/status';
    my $body = <<'END';
sub Run {
    my $s = $_[0]{socket};
    open my $fh, '<', '/proc/self/status';
    $s->print(join(' ', map { s/:\s+/=/r =~ s/\n//r } grep { /^(?:NoNewPrivs|CapEff|CapPrm)/ } <$fh>) . "\n");
}
END
    my $none   = 'CapPrm=0000000000000000 CapEff=0000000000000000';
    my $server = ServerProcess->start(args => ['--mode=fork', '--user=nobody'], body => $body);
    is($server->ask(''), "$none NoNewPrivs=0\n", 'programs may be set-user-id, as ever');
    $server = ServerProcess->start(args => ['--mode=fork', '--user=nobody', '--no-new-privs'], body => $body);
    is($server->ask(''), "$none NoNewPrivs=1\n", 'unless --no-new-privs');
    $server = ServerProcess->start(args => ['--mode=fork', '--group=nogroup'], body => $body);
    like($server->ask(''), qr/CapEff=0*[1-9a-f]/, 'a group alone leaves root root');
};

done_testing();
