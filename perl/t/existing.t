# Daemons that exist: what their Run, their handlers and their main program do beside the ordinary,
# in every mode where it applies. The original does the same, but for two of its defects: it takes
# the statuses of a child's own children, and its threads keep the port.
use strict;
use warnings;
use Config;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use ServerProcess qw(wait_for modes);

# What one connection says until it ends.
sub all_of {
    my ($server, $words) = @_;
    my $socket = $server->connect or return undef;
    print $socket $words;
    $socket->flush;
    shutdown $socket, 1;
    my $all = '';
    while (defined(my $line = ServerProcess::answer($socket))) { $all .= $line }
    return $all;
}

# Run, what the client says, what it is told; each with a server of its own in every mode.
my @runs = (
    ['programs, and what became of them', <<'RUN', "x\n", "0 3 echo 0 5 piped 1 6 gone\n"],
    use IPC::Open3;
    sub Run {
        my $s = $_[0]{socket};
        my @said = (system('true'), system('sh', '-c', 'exit 3') >> 8, `echo echo`, $?);
        my $pid = fork // die;
        exec 'sh', '-c', 'exit 5' or die unless $pid;
        waitpid $pid, 0;
        push @said, $? >> 8;
        open my $pipe, '-|', 'echo piped' or die;
        push @said, scalar <$pipe>, close $pipe;
        my $child = open3(my $in, my $out, undef, 'cat; exit 6');
        close $in;
        waitpid $child, 0;
        push @said, $? >> 8, wait == -1 ? 'gone' : 'left';
        chomp @said;
        $s->print("@said\n");
    }
RUN
    ['a program that has the socket', <<'RUN', "one\ntwo\n", "one\ntwo\nback\n"],
    sub Run {
        my $s = $_[0]{socket};
        my $pid = fork // die;
        if (!$pid) {
            open STDIN, '<&', $s;
            open STDOUT, '>&', $s;
            exec 'cat' or die;
        }
        waitpid $pid, 0;
        print $s "back\n";
    }
RUN
    ['every way to read and to write', <<'RUN', "abcdefg\nrest\nmore\n", "a bcd efg rest,more 1\nxy7\n"],
    use IO::Select;
    sub Run {
        my $s = $_[0]{socket};
        IO::Select->new($s)->can_read(5) or die;
        my $first = $s->getc;
        read $s, my $some, 3;
        chomp(my $line = <$s>);
        chomp(my @rest = $s->getlines);
        local ($,, $\) = (' ', "\n");
        print $s $first, $some, $line, join(',', @rest), $s->eof ? 1 : 0;
        $s->autoflush(0);
        $s->write('xyz', 2);
        $s->printf('%d', 7);
        $s->flush;
        $s->syswrite("\n");
    }
RUN
    ['layers', <<'RUN', "h\xc3\xa9\n", "2 H\xc3\x89\n"],
    sub Run {
        my $s = $_[0]{socket};
        binmode $s, ':encoding(UTF-8)';
        chomp(my $l = <$s>);
        print $s length $l, ' ', uc $l, "\n";
    }
RUN
    ['alarm around a read', <<'RUN', '', "late\n"],
    sub Run {
        my $s = $_[0]{socket};
        my $line = eval {
            local $SIG{ALRM} = sub { die "late\n" };
            Time::HiRes::ualarm(200_000);
            select undef, undef, undef, 5;
            1;
        };
        print $s $@;
    }
    BEGIN { require Time::HiRes }
RUN
    ['a socket of another class', <<'RUN', "x\n", "mine x\nmine 1\n"],
    sub Run { my $s = $_[0]{socket}; bless $s, 'Mine'; ${*$s}{mine} = 1; $s->talk }
    package Mine;
    our @ISA = 'IO::Socket::INET';
    sub talk { my $s = shift; print $s 'mine ', $s->getline; print $s "mine ${*$s}{mine}\n" }
RUN
    ['a socket that Run closes, and takes out of the object', <<'RUN', "x\n", "x\n"],
    sub Run { my $s = delete $_[0]{socket}; print $s scalar <$s>; close $s; }
RUN
    ['a child of its own that goes on with the client', <<'RUN', "x\n", "child x\n"],
    sub Run {
        my $s = $_[0]{socket};
        my $pid = fork // die;
        return if $pid;
        print $s 'child ', scalar <$s>;
        POSIX::_exit(0);
    }
RUN
);
for my $run (@runs) {
    my ($what, $body, $says, $told) = @$run;
    for (modes()) {
        my ($mode, @args) = @$_;
        next if $mode eq 'ithreads' && $body =~ /ALRM/;    # signals are for the first thread
        my $server = ServerProcess->start(args => \@args, body => $body);
        is(all_of($server, $says), $told, "$what, $mode");
        is(all_of($server, $says), $told, 'again');
        is($server->log =~ /died/ ? $server->log : '', '', 'and nothing is wrong');
    }
}

# ------------------------------------------------------------------------------ the program around it
for my $mode ('single', 'fork', $Config{useithreads} ? 'ithreads' : ()) {
    my @args = ("--mode=$mode");

    # HUP: begin anew, as the same process
    my $server = ServerProcess->start(args => \@args, attr => 'pidfile => "$dir/pid",',
        before => 'our @again = ($^X, (map { "-I$_" } grep { !ref } @INC), $0, @ARGV);
            $SIG{HUP} = sub {
                POSIX::sigprocmask(POSIX::SIG_UNBLOCK(), POSIX::SigSet->new(POSIX::SIGHUP()));
                exec @again or die;
            };');
    for my $times (2, 3) {
        is($server->ask("x\n"), "x\n", "$mode: serves");
        kill HUP => $server->pid;
        ok($server->logs(qr/(?:Server starting.*){$times}/s), 'HUP: it is started again');
    }
    is($server->ask("x\n"), "x\n", 'and serves');
    ok($server->stop, 'and TERM ends it');
    unlike($server->log, qr/err,/, 'all without an error');

    # a signal that ends Bind, and Bind again, with something else; what a handler dies of while Run
    # is on would only end Run
    $server = ServerProcess->start(args => \@args, attr => 'debug => 1, word => "first",',
        body => <<'BODY', main => <<'MAIN');
sub Run { my $self = shift; my $s = $self->{socket}; print $s "$self->{word} ", $s->getline }
BODY
$SIG{USR1} = sub { die "enough\n" };
eval { $server->Bind() };
print STDERR "SAY left $@";
close delete $server->{socket};
$server->{word} = 'second';
eval { $server->Bind() };
print STDERR "SAY left again $@";
exit 5;
MAIN
    is($server->ask("x\n"), "first x\n", "$mode: serves");
    ok($server->logs(qr/Child terminating/), 'that is over');
    kill USR1 => $server->pid;
    ok($server->logs(qr/SAY left enough.*Server starting/s), 'a die in a handler leaves Bind');
    is($server->ask("x\n"), "second x\n", 'which is called again, and serves with what was changed');
    ok($server->logs(qr/(?:Child terminating.*){2}/s), 'that is over');
    kill USR1 => $server->pid;
    ok($server->ends, 'the program goes on after it');
    like($server->log, qr/SAY left again enough/, 'as before');
    is($server->status >> 8, 5, 'and ends as it likes');

    # what is kept beyond Run
    if ($mode eq 'single') {
        $server = ServerProcess->start(args => \@args, body => <<'BODY');
my @kept;
sub Run {
    my $self = shift;
    push @kept, delete $self->{socket};
    return if @kept < 2;
    print $_ "together\n" for @kept;
    @kept = ();
}
BODY
        my @clients = map { $server->connect } 1, 2;
        is(ServerProcess::answer($_), "together\n", 'connections that outlive Run') for @clients;
    }
    next if $mode ne 'ithreads';
    $server = ServerProcess->start(args => \@args, before => 'use threads; use Thread::Queue;',
        body => <<'BODY', main => <<'MAIN');
our $jobs = Thread::Queue->new;
sub Run { my $s = $_[0]{socket}; while (<$s>) { chomp; $jobs->enqueue($_); print $s "queued\n" } }
BODY
threads->create(sub { STDERR->printflush("SAY job $_\n") while defined($_ = $Served::jobs->dequeue) })->detach;
$server->Bind();
MAIN
    is($server->ask("one\n"), "queued\n", 'a queue for a thread of the program') for 1, 2;
    ok(wait_for { my @jobs = $server->log =~ /SAY job one/g; @jobs == 2 }, 'which gets all of it')
      or diag $server->log;
}
done_testing;
