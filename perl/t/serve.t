# Serving, in every mode: the order of things, what the objects of connections are, how it ends.
use strict;
use warnings;
use Test::More;
use Config;
use FindBin;
use lib "$FindBin::Bin/lib";
use ServerProcess qw(wait_for modes);

my $body = <<'END';
sub post_clone { my $self = shift; $self->{cloned} = 1 }
sub Accept {
    my $self = shift;
    return $self->SUPER::Accept() && !$self->{parent}{refuse};
}
sub Run {
    my ($self) = @_;
    my $s = $self->{socket};
    while (defined(my $line = $s->getline)) {
        if ($line =~ /^die/)     { die "as told\n" }
        if ($line =~ /^facts/)   { $s->print(join(',', ref $self, ref $s, $s->peerhost, $s->blocking,
            $self->{cloned}, ref $self->{parent}, $self->{parent}{cloned} ? 1 : 0, $self->{proto},
            $s->sockport == $self->{localport} ? 1 : 0, $s->isa('IO::Socket') ? 1 : 0) . "\n") }
        elsif ($line =~ /^pid/)  { $s->print("$$\n") }
        elsif ($line =~ /^done/) { $self->{parent}->Done(1); $s->print("done\n") }
        else                     { $s->print($line) }
    }
}
END

for (modes()) {
    my ($mode, @args) = @$_;
    my $tid = $mode eq 'ithreads' ? qr/\d+, / : qr//;

    subtest "$mode: a connection" => sub {
        my $server = ServerProcess->start(args => [@args, '--debug'], body => $body);
        my $socket = $server->connect;
        my $port = $socket->sockport;
        is($server->ask("hello\n", $socket), "hello\n", 'it is served');
        is($server->ask("facts\n", $socket), "Served,IO::Socket::INET,127.0.0.1,1,1,Served,0,tcp,1,1\n",
            'by a clone, with a true socket');
        close $socket;
        ok($server->logs(qr/Child terminating/), 'it ends');
        my $expected = join '', map { "$_\n" } grep { $_ }
          "debug, Server starting in operation mode " . ($mode eq 'childs' ? 'single' : $mode),
          $mode eq 'childs' && 'debug, Preforking 2 child processes ...',
          'notice, Server starting',
          "debug, Connection from 127.0.0.1, port $port",
          'debug, New child starting (Served=HASH).',
          "debug, Accepting client from 127.0.0.1, port $port",
          'debug, Accepting client',
          'debug, Child terminating.';
        my $got = join '', map { "$_\n" } $server->events;
        $got =~ s/^(\w+, )\d+, /$1/gm if $mode eq 'ithreads';
        $got =~ s/\(0x\w+\)//;
        is($got, $expected, 'and logged in order');
        like($server->log, qr/^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} notice, ${tid}Server starting$/m, 'the form of a line');
        $server->stop;
    };

    subtest "$mode: errors cost their connection" => sub {
        my $server = ServerProcess->start(args => \@args, body => $body);
        is($server->ask("die\n"), undef, 'Run dies');
        ok($server->logs(qr/err, ${tid}Child died: as told$/m), 'which is logged');
        is($server->ask("hello\n"), "hello\n", 'and the next is served');
        $server->stop;
        $server = ServerProcess->start(args => \@args, body => $body, attr => 'refuse => 1');
        is($server->ask("hello\n"), undef, 'Accept says no');
        ok($server->logs(qr/err, ${tid}Refusing client$/m), 'which is logged');
        $server->stop;
    };

    subtest "$mode: TERM" => sub {
        my $server = ServerProcess->start(args => \@args, body => $body);
        ok($server->stop, 'ends an idle server');
        is($server->status, 0, 'and Bind returns') if $mode ne 'childs';
        like($server->log, qr/Served server terminating\n.*SAY Bind returned/s, 'with a line') if $mode ne 'childs';

        $server = ServerProcess->start(args => \@args, body => $body);
        my $socket = $server->connect;
        $server->ask("hello\n", $socket);
        ok($server->stop, 'ends a server that sits in Run');
        my $port_is_free = wait_for { !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server->port) };
        ok($port_is_free, 'and nobody listens after it');

        $server = ServerProcess->start(args => \@args,
            body => $body . 'my $asked; sub Done { print STDERR "SAY up\n" if !$asked++; shift->SUPER::Done(@_) }',
            before => '$SIG{TERM} = sub { print STDERR "SAY mine\n"; exit 7 };');
        ok($server->logs(qr/(?:SAY up\n.*){2}/s), 'both workers are there') if $mode eq 'childs';
        kill TERM => $server->pid;
        ok($server->ends, 'a handler that the program has');
        is($server->status >> 8, $mode eq 'childs' ? 0 : 7, 'is kept, but by the parent of workers');
        ok($server->logs(qr/(?:SAY mine\n.*){2}/s), 'by the workers it is') if $mode eq 'childs';
        unlike($server->log, qr/terminating/, 'and is all that happens');
    };

    subtest "$mode: TERM and a Done of its own" => sub {
        my $server = ServerProcess->start(args => \@args, body => 'sub Done { 0 }');
        is($server->ask("hello\n"), "hello\n", 'one that never says yes serves');
        ok($server->stop, 'and TERM ends it');
    };

    subtest "$mode: INT" => sub {
        my $server = ServerProcess->start(args => \@args, body => $body);
        ok($server->stop('INT'), 'ends it, too');
    };

    subtest "$mode: signals of the program" => sub {
        my $server = ServerProcess->start(args => \@args, body => $body,
            before => '$SIG{USR1} = sub { print STDERR "SAY usr1\n" }; $SIG{USR2} = sub { die "by usr2\n" };',
            main => 'eval { $server->Bind() }; print STDERR "SAY died $@";');
        kill USR1 => $server->pid;
        ok($server->logs(qr/SAY usr1/), 'handlers run at once');
        is($server->ask("hello\n"), "hello\n", 'it serves on');
        unlike($server->log, qr/failed to accept/, 'and says nothing');
        # Where the last connection is still being served, it is Run that dies: so again, until it is Bind.
        ok(wait_for { kill USR2 => $server->pid; $server->log =~ /SAY died by usr2/ }, 'a die in one leaves Bind');
        $server->stop;
    };

    # Just when a thread or child is made for a connection, which is the one moment that may fail.
    subtest "$mode: a signal meanwhile" => sub {
        my $server = ServerProcess->start(args => \@args, before => '$SIG{USR2} = sub { die "by usr2\n" };',
            body => 'sub ChildFunc { my $self = shift; kill USR2 => $$; $self->SUPER::ChildFunc(@_) }',
            main => 'eval { $server->Bind() }; print STDERR "SAY died $@";');
        my $client = $server->connect;
        ok($server->logs(qr/SAY died by usr2/), 'a die in its handler leaves Bind');
        unlike($server->log, qr/err, .*by usr2/, 'and is no error of the connection');
        $server->stop;
    };

    subtest "$mode: Loop" => sub {
        my $server = ServerProcess->start(args => [@args, '--loop-timeout=0.1'], body => $body . <<'END');
sub Loop { my $self = shift; $self->Log('notice', 'loop %s', ++$self->{loops}) if ref $self eq 'Served' }
END
        ok($server->logs(qr/loop 3/), 'is called again and again');
        is($server->ask("hello\n"), "hello\n", 'beside connections');
        $server->stop;
        $server = ServerProcess->start(args => [@args, '--loop-timeout=0.1', '--loop-child'], body => $body . <<'END');
sub Loop { my $self = shift; $self->Log('notice', 'loop %s in %s', ++$self->{loops}, $$) }
END
        my $own = $mode eq 'single' || $mode eq 'childs';
        ok($server->logs($own ? qr/loop 3/ : qr/(?:loop 1 .*){3}/s), 'with --loop-child, too');
        my ($pid) = $server->log =~ /loop 1 in (\d+)/;
        isnt($pid, $server->pid, 'in a process of its own') if $mode eq 'fork' || $mode eq 'childs';
        is($pid, $server->pid, 'in this process') if $mode eq 'single' || $mode eq 'ithreads';
        $server->stop;
        $server = ServerProcess->start(args => [@args, '--loop-timeout=0.1'],
            main => 'eval { $server->Bind() }; print STDERR "SAY died $@";',
            body => 'sub Loop { die "in Loop\n" }');
        ok($server->logs(qr/SAY died in Loop/), 'is not trapped');
    };

    subtest "$mode: Done" => sub {
        my $server = ServerProcess->start(args => [@args], body => $body,
            before => '$SIG{USR1} = sub { $main::server->Done(1) };');
        kill USR1 => $server->pid;
        ok($server->ends, 'set by a handler ends it at once');
        like($server->log, qr/Served server terminating/, 'with a line');
    };
}

subtest 'single: Done by a connection' => sub {
    my $server = ServerProcess->start(args => ['--mode=single'], body => $body);
    is($server->ask("done\n"), "done\n");
    ok($server->ends, 'ends the server');
    like($server->log, qr/SAY Bind returned/, 'Bind returns');
};

subtest 'nocatchint' => sub {
    my $server = ServerProcess->start(args => ['--mode=single', '--nocatchint'], body => $body,
        before => '$SIG{USR1} = sub { };');
    # Again: the first may come before it waits.
    ok(wait_for { kill USR1 => $server->pid; $server->log =~ /err, Served server failed to accept: Interrupted system call/ },
        'a signal is reported');
    is($server->ask("hello\n"), "hello\n", 'it goes on');
};

subtest 'a connection may have the descriptor 0' => sub {
    my $server = ServerProcess->start(args => ['--mode=single'], body => <<'END');
sub Done { my $self = shift; close STDIN if $self->{socket}; return $self->SUPER::Done(@_) }
sub Run {
    my $self = shift;
    chomp(my $line = $self->{socket}->getline);
    $self->{socket}->print("$line ", fileno($self->{socket}), "\n");
}
END
    is($server->ask("hello\n"), "hello 0\n", 'it is served');
};

subtest 'childs' => sub {
    my $server = ServerProcess->start(args => ['--childs=3', '--debug'], body => $body,
        before => '$SIG{USR1} = sub { print STDERR "SAY pids @{[sort keys %{$main::server->{childpids}}]}\n" };');
    ok(wait_for { kill USR1 => $server->pid; $server->log =~ /SAY pids \d+ \d+ \d+/ }, 'childpids');
    my @pids = $server->log =~ /SAY pids (\d+) (\d+) (\d+)/;
    my %seen;
    wait_for { $seen{ $server->ask("pid\n") } = 1; 1 } for 1 .. 3;
    is(scalar(grep { my $pid = $_; !grep { "$_\n" eq $pid } @pids } keys %seen), 0, 'they serve');
    $server->stop;
    is($server->status, 0, 'TERM: exit status 0');
    like($server->log, qr/debug, kill TERM childs: \d+,\d+,\d+$/m, 'and its line');
    ok(wait_for { !grep { kill 0, $_ } @pids } , 'the workers are gone');
    $server = ServerProcess->start(args => ['--childs=2'], body => $body);
    chomp(my $pid = $server->ask("pid\n"));
    kill KILL => $server->pid;
    $server->ends;
    ok(wait_for { !kill 0, $pid }, 'so are they when the parent is killed');
    for my $name ('TERM', 'INT') {
        $server = ServerProcess->start(args => ['--childs=2', '--debug'], body => $body,
            before => "our \$stop; \$SIG{$name} = sub { print STDERR \"SAY handler\\n\"; \$stop = 1 };");
        chomp($pid = $server->ask("pid\n"));
        kill $name, $pid;
        ok($server->logs(qr/SAY handler/), "a handler for $name is kept in workers");
        is($server->ask("x\n"), "x\n", 'which go on when it returns');
        kill $name, $server->pid;
        ok($server->ends, "their parent ends by $name all the same");
        is($server->status, 0, 'with status 0');
        like($server->log, qr/debug, kill TERM childs: \d+,\d+$/m, 'and its line');
    }
    my ($all) = ServerProcess->start(args => ['--childs=2'],
        before => 'BEGIN { *CORE::GLOBAL::fork = sub { $! = 11; undef } }');
    ok($all->logs(qr/err, Cannot fork child 1 of 2: .*\n.*err, Cannot fork any child/), 'none can be made');
    ok($all->ends, 'which ends it');
};

subtest 'sockets of the program' => sub {
    my $server = ServerProcess->start(args => ['--mode=single', '--debug'], before => <<'END', body => $body);
package Mine;
use IO::Socket::INET;
our @ISA = 'IO::Socket::INET';
our $n = 0;
sub accept {
    my $self = shift;
    my $new = $self->SUPER::accept(@_);
    return $new unless $n++ < 2;
    close $new;
    $! = $n == 1 ? POSIX::EINTR() : POSIX::EPROTO();
    return;
}
package Served;
sub Bind {
    my $self = shift;
    $self->{socket} = Mine->new(LocalAddr => '127.0.0.1', LocalPort => $self->{localport}, Listen => 5, ReuseAddr => 1);
    $self->SUPER::Bind();
}
END
    is($server->ask("x\n"), undef, 'their own accept fails');
    unlike($server->log, qr/failed to accept/, 'EINTR is silent');
    is($server->ask("x\n"), undef, 'fails again');
    ok($server->logs(qr/err, Served server failed to accept: Protocol error/), 'which is logged');
    like($server->ask("facts\n"), qr/^Served,Mine,/, 'connections are of their class');
};

# Connections are what IO::Socket's accept makes of the program's listener.
for my $case (
    ['its Timeout', 'IO::Socket::INET', '$s->timeout()', 7],
    ['what a new of its class does', 'New', '${*$s}{mine}', 'new'],
    ['what an accept of its class does', 'Accepts', '${*$s}{mine}', 'accept'],
    ['with a configure of its class', 'Configures', 'ref $s', 'Configures'],
    ['a domain, a type', 'IO::Socket::INET', '$s->sockdomain() . $s->socktype()', Socket::AF_INET() . Socket::SOCK_STREAM()],
) {
    my ($what, $class, $expression, $expected) = @$case;
    subtest "connections of a socket of the program: $what" => sub {
        for (modes()) {
            my ($mode, @args) = @$_;
            my $server = ServerProcess->start(args => \@args, before => <<'BEFORE', body => <<"BODY", main => <<"MAIN");
package New; require IO::Socket::INET; our @ISA = 'IO::Socket::INET';
sub new { my $socket = shift->SUPER::new(@_); ${*$socket}{mine} = 'new' if $socket; return $socket }
package Accepts; our @ISA = 'IO::Socket::INET';
sub accept { my $socket = shift->SUPER::accept(@_); ${*$socket}{mine} = 'accept' if $socket; return $socket }
package Configures; our @ISA = 'IO::Socket::INET';
sub configure { return shift->SUPER::configure(@_) }
package main;
BEFORE
sub Run { my \$s = \$_[0]{socket}; \$s->print($expression // 'undef', "\\n") }
BODY
\$server->{socket} = $class->new(LocalAddr => '127.0.0.1', LocalPort => \$server->{localport}, Listen => 5,
    ReuseAddr => 1, Timeout => 7) or die;
\$server->Bind();
MAIN
            is($server->ask(''), "$expected\n", $mode);
        }
    };
}

subtest 'a signal just before the wait' => sub {
    for (grep { $_->[0] ne 'childs' } modes()) {
        my ($mode, @args) = @$_;
        my $server = ServerProcess->start(args => \@args, main => <<'MAIN');
my $wait = \&Net::Daemon::Serving::wait;
{ no warnings; *Net::Daemon::Serving::wait = sub { kill TERM => $$; $wait->(@_) } }
$server->Bind();
MAIN
        ok($server->ends, "$mode: ends the server all the same");
        is($server->status, 0, 'cleanly');
    }
};

# What $^F covers is open in programs that are started.
subtest 'descriptors up to $^F' => sub {
    for my $case ([2, 'closed closed'], [255, 'open open']) {
        my ($limit, $expected) = @$case;
        my $server = ServerProcess->start(args => ['--mode=single'], before => "\$^F = $limit;", body => <<'BODY');
sub Run {
    my $self = shift;
    my @fds = (fileno $self->{socket}, fileno $self->{parent}{socket});
    my $is = `for fd in @fds; do [ -e /proc/self/fd/\$fd ] && echo open || echo closed; done`;
    $self->{socket}->print(join(' ', split ' ', $is), "\n");
}
BODY
        is($server->ask(''), "$expected\n", "\$^F = $limit");
    }
};

subtest 'Done is asked before each accept' => sub {
    for (modes()) {
        my ($mode, @args) = @$_;
        my $server = ServerProcess->start(args => \@args,
            body => 'my $asked = 0; sub Done { print STDERR "SAY asked\n"; return $asked++ >= 2 }');
        my $asked = sub { scalar(() = $server->log =~ /SAY asked/g) };
        my $before = $mode eq 'childs' ? 2 : 1;
        ok(wait_for { $asked->() == $before }, "$mode: once, or by each worker");
        select undef, undef, undef, 2.5;
        is($asked->(), $before, "$mode: and not from time to time");
        is($server->ask("x\n"), "x\n", 'so it still serves');
    }
};

subtest 'an accept of the program that waits' => sub {
    my %program = (before => <<'END', body => <<'BODY');
package Greeted;
use IO::Socket::INET;
our @ISA = 'IO::Socket::INET';
sub accept {
    my $new = shift->SUPER::accept(@_);
    print STDERR "SAY waits\n";
    my $greeting = <$new> // '';
    die "no client: $greeting" if $greeting =~ /die/;
    return $new;
}
END
sub Bind {
    my $self = shift;
    $self->{socket} = Greeted->new(LocalAddr => '127.0.0.1', LocalPort => $self->{localport}, Listen => 5, ReuseAddr => 1);
    $self->SUPER::Bind();
}
BODY
    for my $mode ('single', 'fork') {
        my $server = ServerProcess->start(args => ["--mode=$mode"], %program);
        is($server->ask("hello\nx\n"), "x\n", "$mode: serves");
        my $idle = $server->connect;
        ok($server->logs(qr/(?:SAY waits.*){2}/s), 'waits for a client');
        ok($server->stop, 'TERM ends it meanwhile');
        like($server->log, qr/Served server terminating\n.*SAY Bind returned/s, 'as at any other time');
        $server = ServerProcess->start(args => ["--mode=$mode"], %program,
            main => 'eval { $server->Bind() }; print STDERR "SAY died $@";');
        $server->ask("die\n");
        ok($server->logs(qr/SAY died no client: die/), 'a die of its own leaves Bind');
    }
};

subtest 'a socket that is exchanged, a skipped clone' => sub {
    my $server = ServerProcess->start(args => ['--mode=single', '--loop-timeout=0.1'], body => $body . <<'END');
sub Loop {
    my $self = shift;
    return unless -e "$main::dir/move" && unlink "$main::dir/move";
    $self->{socket} = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 5);
    $self->{localport} = $self->{socket}->sockport;
    $self->say_to_log("port $self->{localport}");
}
sub Clone { my $self = shift; return $self->{skipped}++ ? $self->SUPER::Clone(@_) : undef }
END
    is($server->ask("x\n"), undef, 'Clone gives nothing: it is passed over');
    is($server->ask("x\n"), "x\n", 'the next is served');
    open my $fh, '>', $server->dir . '/move';
    close $fh;
    ok($server->logs(qr/SAY port (\d+)/), 'another socket');
    my ($port) = $server->log =~ /SAY port (\d+)/;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
    is($server->ask("x\n", $socket), "x\n", 'is looked at from then on');
};

subtest 'objects that new never saw' => sub {
    my $server = ServerProcess->start(args => [], body => $body, main => <<'END');
my $port = $server->{localport};
my $bare = bless { mode => 'single', localport => $port, localaddr => '127.0.0.1', logfile => 1 }, 'Served';
$bare->Bind;
END
    is($server->ask("x\n"), "x\n", 'serve, too');
};

subtest 'ChildFunc' => sub {
    for my $mode ('single', 'fork', $Config{useithreads} ? 'ithreads' : ()) {
        my ($status, $out) = ServerProcess::run_perl(<<"CODE");
use Net::Daemon;
\$| = 1;
sub Net::Daemon::task { my (\$self, \@args) = \@_; print "task \@args in \$\$\\n" }
my \$d = bless { mode => '$mode' }, 'Net::Daemon';
print "main in \$\$\\n";
\$d->ChildFunc('task', 1, 2);
wait if '$mode' eq 'fork';
select undef, undef, undef, 0.3 if '$mode' eq 'ithreads';
print "joinable ", scalar(threads->list), "\\n" if '$mode' eq 'ithreads';
CODE
        my ($main) = $out =~ /main in (\d+)/;
        my ($task) = $out =~ /task 1 2 in (\d+)/;
        ok($task, "$mode: calls the method");
        is($task == $main ? 'same' : 'other', $mode eq 'fork' ? 'other' : 'same', "$mode: in which process");
        like($out, qr/joinable 0/, "$mode: threads are detached") if $mode eq 'ithreads';
    }
};

# What a child process still does when its work is done: all that a program can tell apart from exit.
subtest 'the end of a child' => sub {
    my $child = sub {
        my ($before, $work) = @_;
        my ($status, $out) = ServerProcess::run_perl(<<"CODE");
use Net::Daemon;
our \$parent = \$\$;
$before
sub Net::Daemon::task { $work }
my \$d = bless { mode => 'fork' }, 'Net::Daemon';
\$d->ChildFunc('task');
wait;
print 'status ', \$?, "\n";
CODE
        return $out;
    };
    is($child->('', 'print "words"'), "wordsstatus 0\n", 'what it has printed comes out, once');
    is($child->('print "before ";', '1'), "before status 0\n", 'and what its parent has not');
    like($child->('END { print "END\n" if $$ != $parent }', '1'), qr/^END\nstatus 0$/m, 'END blocks run');
    my $class = 'sub Ends::DESTROY { syswrite STDOUT, "DESTROY\n" if $$ != $parent }';
    like($child->($class, 'our $x = bless {}, "Ends"'), qr/^DESTROY\nstatus 0$/m, 'objects are destroyed');
    like($child->("$class our \$x = bless {}, 'Ends';", '1'), qr/^DESTROY\nstatus 0$/m,
        'those that it has from its parent, too');
    like($child->('our $AUTOLOAD; sub Ends::AUTOLOAD { syswrite STDOUT, "$Ends::AUTOLOAD\n" if $$ != $parent }',
        'our $x = bless [], "Ends"'), qr/^Ends::DESTROY\nstatus 0$/m, 'by AUTOLOAD as well');
    like($child->('', 'open our $pipe, "|-", "sleep 0.2; echo read by; cat"; print $pipe "cat\n"'),
        qr/^read by\ncat\nstatus 0$/m, 'programs at the end of pipes are waited for');
    like($child->('package Late; sub PUSHED { bless [] } sub WRITE { push @{ $_[0] }, $_[1]; length $_[1] }
        sub FLUSH { my ($self, $fh) = @_; print $fh "late: ", splice @$self if @$self; 0 } package main;',
        'open our $fh, ">&", \*STDOUT; binmode $fh, ":via(Late)"; print $fh "layer\n"'), qr/late: layer/, 'layers end');
    is($child->('use POSIX; BEGIN { *CORE::GLOBAL::exit = sub { syswrite STDOUT, "exit @_\n"; POSIX::_exit(0) } }
        ' , '1'), "status 0\n", 'exit is looked up when Net::Daemon is loaded');
    is($child->('', 'die "no\n"'), "no\nstatus 65280\n", 'a die is said, and is a status');
};

subtest 'a forked child and the sockets of the server' => sub {
    my $server = ServerProcess->start(args => ['--mode=fork'], body => <<'END');
sub Run {
    my ($self) = @_;
    my $listener = $self->{parent}{socket};
    my $fd = fileno $listener;
    open my $file, '<', "/proc/self/fd/$fd";
    my $is = readlink "/proc/self/fd/$fd";
    my $before = fileno $file;
    close $listener;
    $self->{socket}->print("$is " . ($before == $fd ? 'same' : 'other') . ' '
        . (defined $self->{socket}->peerport ? 'open' : 'closed') . "\n");
}
END
    is($server->ask(''), "/dev/null other open\n", 'it has their numbers only, and may close them');
    is($server->ask(''), "/dev/null other open\n", 'the server still has the sockets');
};

subtest 'what cannot be bound' => sub {
    my $server = ServerProcess->start(body => $body, args => ['--mode=single']);
    my $second = ServerProcess->start(body => $body, args => ['--mode=single'], port => $server->port);
    ok($second->ends, 'a port in use');
    like($second->log, qr/err, Cannot create socket: .*Address already in use/, 'is said');
    isnt($second->status, 0, 'and dies');
    my $none = ServerProcess->start(port => 0, args => ['--mode=single', '--proto=unix']);
    ok($none->logs(qr/err, Missing option: localpath/), 'no path');
    $none = ServerProcess->start(port => 0, args => ['--mode=single', '--localpath=/no/such/dir/s']);
    ok($none->logs(qr/err, Cannot create Unix socket \/no\/such\/dir\/s: .*No such file/), 'no directory');
    $none = ServerProcess->start(args => ['--mode=single', '--pidfile=/no/such/dir/p', '--debug']);
    ok($none->logs(qr/debug, Writing PID to \/no\/such\/dir\/p\n.*err, Cannot write to \/no\/such\/dir\/p: No such file or directory$/m), 'no pid file');
    $none = ServerProcess->start(args => ['--mode=single', '--group=nosuchgroup']);
    ok($none->logs(qr/err, Cannot determine gid of nosuchgroup: /), 'no group');
    $none = ServerProcess->start(args => ['--mode=single', '--user=nosuchuser']);
    ok($none->logs(qr/err, Cannot determine uid of nosuchuser: /), 'no user');
    my $null = ServerProcess->start(args => ['--mode=single', '--pidfile=/dev/null'], body => $body);
    is($null->ask("x\n"), "x\n", 'a device as pid file');
    $null->stop;
    ok(-c '/dev/null', 'stays');
};

subtest 'a Unix socket' => sub {
    for (modes()) {
        my ($mode, @args) = @$_;
        my $server = ServerProcess->start(port => 0, args => [@args, '--debug', '--localpath=sock'], body => $body,
            before => 'chdir $dir;', attr => 'clients => [{ mask => "^localhost\$", accept => 1 }]');
        my $path = $server->dir . '/sock';
        my $socket = IO::Socket::UNIX->new(Peer => $path);
        is($server->ask("x\n", $socket), "x\n", "$mode: serves");
        close $socket;
        like($server->log, qr/Connection from Unix socket\n.*Accepting client from Unix socket/s, "$mode: words");
        is((stat $path)[2] & 0777, 0777, "$mode: for everybody");
        $server->stop;
        ok(!-e $path, "$mode: the path goes with the server");
    }
};

done_testing();
