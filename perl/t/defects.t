# What was wrong in Net::Daemon before, number by number. Each of these tests fails there:
#     prove t/defects.t          (without -b: the Net::Daemon that is installed)
use strict;
use warnings;
use Test::More;
use Config;
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/lib";
use ServerProcess qw(wait_for free_port run_perl modes);

my $root   = $> == 0;
my $nobody = 65534;

# A conversation still works.
sub serves {
    my ($server, $what) = @_;
    is(scalar $server->ask("hello\n"), "hello\n", $what || 'it still serves');
}

sub number_in {
    open my $fh, '<', $_[0] or return -1;
    my $number = <$fh> // '';
    chomp $number;
    return $number;
}

sub file_with {
    my ($path, $text) = @_;
    open my $fh, '>', $path or die "$path: $!";
    print $fh $text;
    close $fh;
}

subtest '1: a percent sign in a dying message' => sub {
    my $server = ServerProcess->start(args => ['--mode=single'], body => <<'END');
sub Run {
    my $s = $_[0]{socket};
    my $l = $s->getline;
    die "words with %n and %s in them\n" if $l =~ /die/;
    $s->print($l);
}
END
    $server->ask("die\n");
    serves($server);
    like($server->log, qr/err, Child died: words with %n and %s in them$/m, 'as it was said');
};

subtest '2: a client that has gone' => sub {
    for my $mode (modes()) {
        my ($name, @args) = @$mode;
        next if $name eq 'fork';    # costs the child only
        my $server = ServerProcess->start(args => \@args, body => <<'END');
sub Run {
    my ($self) = @_;
    my $s = $self->{socket};
    my $l = $s->getline;
    if ($l =~ /gone/) {
        $s->getline;
        for (1 .. 100) { $s->print("more\n") or last; $s->flush }
        $self->say_to_log('end of Run');
    }
    else { $s->print("$$ $l") }
}
END
        my ($pid) = split ' ', $server->ask("x\n");
        for (1 .. 4) {
            my $socket = $server->connect or last;
            print $socket "gone\n";
            $socket->flush;
            setsockopt $socket, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'ii', 1, 0;
            close $socket;
        }
        ok($server->logs(qr/(?:(?:Child died: Broken pipe|SAY end of Run).*){4}/s),
            "$name: the connections end");
        ok(kill(0, $pid), "$name: the process lives on");
        like($server->ask("hello\n"), qr/hello/, "$name: and serves");
    }
};

# Hundredths of a second of processor time, where /proc tells.
sub time_of {
    open my $fh, '<', "/proc/$_[0]/stat" or return 0;
    my @f = split ' ', (<$fh> =~ s/.*\) //r);
    return $f[11] + $f[12];
}

subtest '3: out of descriptors' => sub {
    my $server = ServerProcess->start(args => ['--mode=single', '--loop-timeout=0.2'], body => <<'END');
our @held;
sub Loop {
    my $self = shift;
    if (-e "$main::dir/full" && !@held) {
        while (open my $fh, '<', '/dev/null') { push @held, $fh }
        $self->say_to_log('full');
    }
    if (-e "$main::dir/free") { unlink "$main::dir/full"; @held = () }
}
END
    my $dir = $server->dir;
    file_with("$dir/full", '');
    ok($server->logs(qr/SAY full/), 'it is out of descriptors');
    my $socket = $server->connect;
    my $said = sub { scalar(() = $server->log =~ /failed to accept/g) };
    ok(wait_for { $said->() }, 'it says so');
    my $before = time_of($server->pid);
    select undef, undef, undef, 1;
    cmp_ok($said->(), '<=', 3, 'not again and again');
    cmp_ok(time_of($server->pid) - $before, '<', 20, 'and hardly works meanwhile');
    file_with("$dir/free", '');
    print $socket "x\n";
    $socket->flush;
    is(ServerProcess::answer($socket), "x\n", 'the client who waited is served');
};

subtest '4: a child keeps nothing of the server' => sub {
    my $server = ServerProcess->start(args => ['--mode=fork'],
        body => 'sub Run { my $s = $_[0]{socket}; $s->print("in\n"); $s->getline }');
    my $socket = $server->connect;
    is(ServerProcess::answer($socket), "in\n", 'a child serves');
    kill KILL => $server->pid;
    $server->ends;
    ok(!$server->connect(Timeout => 2), 'the port is free as soon as the server is gone');
};

my $ids = 'sub Run { my $s = $_[0]{socket}; $s->print("$< $> $( / $)\n") }';

subtest '5: groups' => sub {
    plan skip_all => 'needs root' unless $root;
    my $server = ServerProcess->start(args => ['--mode=fork', "--user=$nobody", "--group=$nobody"],
        before => 'BEGIN { $) = "0 0 4 24" }', body => $ids);
    is($server->ask(''), "$nobody $nobody $nobody $nobody / $nobody $nobody\n",
        'no supplementary group is kept');
    $server = ServerProcess->start(args => ['--mode=fork', '--user=nobody'],
        before => 'BEGIN { $) = "0 0 4 24" }', body => $ids);
    my $gid = (getpwnam 'nobody')[3];
    is($server->ask(''), "$nobody $nobody $gid $gid / $gid $gid\n", 'a user brings his group');
    like($server->log, qr/group of user nobody/, 'which is said');
};

subtest '6: a change of user that fails' => sub {
    my $server = ServerProcess->start(args => ['--mode=single', '--user=1'],
        before => $root ? "\$) = '$nobody $nobody'; \$( = $nobody; \$< = \$> = $nobody;" : '');
    ok($server->ends, 'ends the server');
    like($server->log, qr/Cannot drop privileges: .*only root/, 'with words');
};

subtest '7: chroot' => sub {
    plan skip_all => 'needs root' unless $root;
    my $dir = tempdir(CLEANUP => 1);
    chmod 0755, $dir;
    my $server = ServerProcess->start(args => ['--mode=single', "--chroot=$dir", '--user=nobody'],
        before => 'chdir "/";', body => <<'END');
sub Run {
    my $s = $_[0]{socket};
    my $out = -e "etc/passwd" || -e "../../../etc/passwd" ? 1 : 0;
    $s->print("$out $<\n");
}
END
    is($server->ask(''), "0 $nobody\n", 'leaves no way out, and users are looked up before it');
};

# What Accept says about a socket with these properties.
sub verdict {
    my (%want) = @_;
    $want{before} //= '';
    my ($status, $out) = run_perl(<<"CODE");
BEGIN { $want{before} }
use Net::Daemon;
package Mock;
sub new { bless {}, shift }
sub peerhost { $want{host} }
sub peerport { 4711 }
sub peeraddr { $want{addr} }
package main;
my \$d = bless { proto => 'tcp', mode => 'single', logfile => 'STDERR', socket => Mock->new,
    clients => $want{clients} }, 'Net::Daemon';
print eval { \$d->Accept } ? 'yes' : \$\@ ? "died: \$\@" : 'no';
CODE
    return $out;
}
my %local = (host => "'127.0.0.1'", addr => "Socket::inet_aton('127.0.0.1')");

subtest '8: a name that does not lead back' => sub {
    my $lie = 'use Socket; *CORE::GLOBAL::gethostbyaddr = sub { "trusted.example" };';
    unlike(verdict(%local, before => $lie, clients => q#[{ mask => '^trusted\.example$', accept => 1 }]#),
        qr/yes/, 'is not believed');
    like(verdict(%local, clients => q#[{ mask => '^localhost$', accept => 1 }]#), qr/yes/,
        'one that leads back is');
};

subtest '9: a peer that is no more' => sub {
    unlike(verdict(host => 'undef', addr => 'undef', clients => q#[{ mask => '.*', accept => 1 }]#),
        qr/yes|died/, 'meets no rule');
};

subtest '10: masks' => sub {
    like(verdict(%local, clients => q#[{ mask => '(', accept => 1 }, { mask => '^127', accept => 1 }]#),
        qr/yes/, 'a broken one is passed over');
    like(verdict(%local, clients => q#[{ mask => qr/^127/, accept => 1 }]#), qr/yes/, 'qr//');
    like(verdict(%local, clients => q#[{ mask => '(', accept => 0 }, { accept => 1 }]#), qr/no$/,
        'a broken one that denies does');
};

subtest '11: Unix sockets' => sub {
    my $dir = tempdir(CLEANUP => 1);
    file_with("$dir/precious", 'data');
    my $server = ServerProcess->start(port => 0, args => ['--mode=single', "--localpath=$dir/precious"]);
    ok($server->ends, 'a file in the way ends the server');
    is(-s "$dir/precious", 4, 'and is left alone');
    my ($status, $out) = run_perl(<<"CODE");
use Net::Daemon;
umask 027;
my \$d = Net::Daemon->new({ mode => 'single', logfile => 'STDERR', pidfile => 'none',
    localpath => '$dir/no/such/socket' });
eval { \$d->Bind };
printf "umask %o\\n", umask;
CODE
    like($out, qr/umask 27/, 'the umask is as it was');
};

subtest '12: the pid file' => sub {
    my $dir = tempdir(CLEANUP => 1);
    file_with("$dir/precious", "data\n");
    symlink "$dir/precious", "$dir/link";
    my $server = ServerProcess->start(args => ['--mode=single', "--pidfile=$dir/link"]);
    ok($server->logs(qr/Cannot write to/), 'a link is not followed');
    $server->stop;
    is(-s "$dir/precious", 5, 'what it leads to is left alone');

    my $first = ServerProcess->start(args => ['--mode=single', "--pidfile=$dir/pid"]);
    ok(wait_for { number_in("$dir/pid") eq $first->pid }, 'it holds the number');
    my $second = ServerProcess->start(args => ['--mode=single', "--pidfile=$dir/pid"]);
    ok($second->logs(qr/Cannot write to .*in use by process @{[$first->pid]}/), 'one is in use');
    is(number_in("$dir/pid"), $first->pid, 'and stays as it is');
    $second->stop;
    $first->stop;
    ok(!-e "$dir/pid", 'it goes with the server');
};

subtest '13: no pid file asked for' => sub {
    my $server = ServerProcess->start(args => ['--mode=single'], attr => 'pidfile => undef');
    serves($server, 'means none');
};

subtest '14: logfile 0' => sub {
    my $server = ServerProcess->start(args => ['--mode=single', '--debug'], attr => 'logfile => 0',
        ready => qr/./);
    serves($server, 'is none, not an error');
};

subtest '15: newlines in messages' => sub {
    my $server = ServerProcess->start(args => ['--mode=single'], body => <<'END');
sub Run {
    my ($self) = @_;
    my $s = $self->{socket};
    chomp(my $l = $s->getline);
    $l =~ s/!/\n/g;
    $self->Log("notice", "client said %s", $l);
    $s->print("ok\n");
}
END
    $server->ask("x!Sun Nov 22 08:00:00 2026 notice, forged\e[2J\n");
    my @lines = grep { /forged/ } split /\n/, $server->log;
    is(scalar @lines, 1, 'one event, one line');
    like($lines[0], qr/client said x\\nSun .* forged\\x1b\[2J$/, 'with what came escaped');
};

subtest '16: a connection that cannot be served' => sub {
    my $server = ServerProcess->start(args => ['--mode=fork'], before => <<'END');
our $no;
BEGIN {
    *CORE::GLOBAL::fork = sub { return CORE::fork() unless $main::no; $! = 11; undef };
}
$SIG{USR1} = sub { $no = !$no };
END
    kill USR1 => $server->pid;
    ok(!defined $server->ask("x\n"), 'no fork');
    ok($server->logs(qr/err, Cannot fork/), 'is logged');
    kill USR1 => $server->pid;
    serves($server);
    $server = ServerProcess->start(args => ['--mode=single'],
        body => 'our $n; sub post_clone { die "no clone\n" unless $n++ }');
    ok(!defined $server->ask("x\n"), 'post_clone dies');
    ok($server->logs(qr/no clone/), 'is logged');
    serves($server);
};

subtest '17: mode threads' => sub {
    plan skip_all => 'this Perl has no threads' unless $Config{useithreads};
    my $server = ServerProcess->start(args => ['--mode=threads'],
        body => 'sub Run { my $s = $_[0]{socket}; $s->print("$_[0]{mode}\n") }');
    is($server->ask(''), "ithreads\n", 'is ithreads');
};

subtest '18: IPv6' => sub {
    require IO::Socket::IP;
    my $probe = IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1)
      or plan skip_all => 'this machine has no ::1';
    my $port = $probe->sockport;
    close $probe;
    my $server = ServerProcess->start(port => 0, attr => "localaddr => '::1', localport => $port",
        args => ['--mode=single', '--debug']);
    my $socket = IO::Socket::IP->new(PeerHost => '::1', PeerPort => $port);
    ok($socket, 'it listens at ::1');
    is($server->ask("six\n", $socket), "six\n", 'and serves') if $socket;
    ok($server->log =~ qr/Connection from ::1, port/, 'and says so');
};

subtest '19: the status of a program that a child runs' => sub {
    my $server = ServerProcess->start(args => ['--mode=fork'], body => <<'END');
sub Run { my $s = $_[0]{socket}; my $rc = system "exit 3;"; $s->print(($rc >> 8) . "\n") }
END
    is($server->ask(''), "3\n", 'is the child\'s to see');
};

subtest '20: workers' => sub {
    my $server = ServerProcess->start(args => ['--childs=2'],
        body => 'sub Run { my $s = $_[0]{socket}; $s->getline; $s->print("$$\n") }');
    chomp(my $pid = $server->ask("\n"));
    kill KILL => $pid;
    my %seen;
    ok(wait_for { $seen{ $server->ask("\n") // '' } = 1; delete $seen{''}; keys %seen >= 2 },
        'one that has died is replaced');
    ok(!$seen{"$pid\n"}, 'by another');

    $server = ServerProcess->start(args => ['--childs=3', '--loop-timeout=0.1'], body => <<'END');
sub Loop { open my $fh, '>>', "$main::dir/loop.$$"; print $fh '.'; close $fh }
sub Run { my $s = $_[0]{socket}; $s->print($s->getline) }
END
    $server->ask("hello\n") for 1 .. 10;
    my %size = map { $_ => -s $_ } glob $server->dir . '/loop.*';
    ok(wait_for(sub { 3 == grep { -s $_ > ($size{$_} || 0) + 3 } glob $server->dir . '/loop.*' }, 4),
        'those who came too late for a connection go on');
};

subtest '21: Loop' => sub {
    my $all;
    for (1 .. 3) {    # on a busy machine a turn may be late
        my $server = ServerProcess->start(args => ['--mode=single', '--loop-timeout=0.25'],
            before => 'use Time::HiRes;', body => <<'END');
our @t;
sub Loop {
    push @t, Time::HiRes::time();
    Time::HiRes::sleep(0.1);
    $_[0]->say_to_log("loops @t"), $_[0]->Done(1) if @t == 7;
}
END
        ok($server->logs(qr/SAY loops/), 'it runs');
        my @t = $server->log =~ /SAY loops (.*)/ ? split(' ', $1) : (0) x 7;
        $all = $t[-1] - $t[0];
        last if abs($all - 1.5) < 0.3;
    }
    # 2.1 s if each nap came on top.
    cmp_ok(abs($all - 1.5), '<', 0.3, "six periods of 0.25 s take 1.5 s (they took $all)");
};

subtest '22: new does not fork' => sub {
    my ($status, $out) = run_perl(<<'CODE');
our $forks = 0;
BEGIN {
    *CORE::GLOBAL::fork = sub { $main::forks++; CORE::fork() };
    unshift @INC, sub { die "none here\n" if $_[1] =~ /^threads/; return };
}
use Net::Daemon;
my $d = Net::Daemon->new({ logfile => 'STDERR' });
print "mode $d->{mode} forks $forks\n";
CODE
    like($out, qr/mode fork forks 0/, 'to find out that it can');
};

subtest '23: a config file that cannot be read' => sub {
    my $dir = tempdir(CLEANUP => 1);
    my ($status, $out) = run_perl(<<'CODE', "--configfile=$dir");
use Net::Daemon;
Net::Daemon->new({ logfile => 'STDERR', mode => 'single' }, \@ARGV);
CODE
    like($out, qr/Error while processing config file .*: Is a directory/, 'is what is said');
};

subtest '24: taint mode' => sub {
    my $dir = tempdir(CLEANUP => 1);
    file_with("$dir/config", "{ 'from_config' => 'value' }\n");
    chmod 0644, "$dir/config";
    my $server = ServerProcess->start(perl => ['-T'], before => 'delete @ENV{qw(PATH ENV CDPATH BASH_ENV)};',
        args => ['--mode=fork', "--configfile=$dir/config", "--logfile=$dir/log", "--pidfile=$dir/pid"],
        ready => qr/SAY (?:listens|died)|insecure/i, body => <<'END');
sub Run { my ($self) = @_; $self->{socket}->print("$self->{from_config} ${^TAINT}\n") }
sub SigChildHandler { my $self = shift; $self->say_to_log('listens'); $self->SUPER::SigChildHandler(@_) }
END
    ok(wait_for { -s "$dir/pid" || $server->ended }, 'it has a pid file');
    is($server->ask(''), "value 1\n", 'it serves');
    ok(-s "$dir/log", 'it logs');
};

done_testing();
