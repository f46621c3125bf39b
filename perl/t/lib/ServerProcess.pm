package ServerProcess;

# A server in a process of its own, for tests: start it, talk to it, read its log, end it.
#
#     my $server = ServerProcess->start(body => 'sub Run { ... }', args => ['--mode=fork']);
#     is($server->ask("1+2\n"), "3\n");
#     $server->stop;
#
# It listens on a free port of 127.0.0.1 and logs to a file that log() returns. Nothing here sleeps
# for luck: wait_for() looks again until something is so, and gives up after a while.

use strict;
use warnings;

use Exporter qw(import);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(wait_for free_port run_perl modes);

my $patience = 10 * ($ENV{TEST_PATIENCE} || 1);

# The ways to serve: name, arguments.
sub modes {
    my @modes = (['single', '--mode=single'], ['fork', '--mode=fork'], ['childs', '--childs=2']);
    push @modes, ['ithreads', '--mode=ithreads'] if $Config::Config{useithreads};
    return @modes;
}

# The last value of a condition: true as soon as it is, false when time is up.
sub wait_for(&;$) {
    my ($condition, $seconds) = @_;
    my $end = time + ($seconds || $patience);
    my $value;
    until ($value = $condition->()) {
        last if time > $end;
        sleep 0.01;
    }
    return $value;
}

# A port that nobody uses, nor another test that runs at the same time: it is ours as long as we hold
# the socket of that name. No outgoing connection gets one of these.
my %reserved;

sub free_port {
    for (1 .. 1000) {
        my $port = 20_000 + int rand 10_000;
        my $name = $^O ne "linux" || IO::Socket::UNIX->new(Local => "\0net-daemon-test-$port", Listen => 1)
          or next;
        IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => $port) or next;
        $reserved{$port} = $name;
        return $port;
    }
    die 'no port';
}

# The words that give another perl the modules of this one.
sub libraries { return map { "-I$_" } grep { !ref } @INC }

# Run a program; returns its exit status and all that it wrote.
sub run_perl {
    my ($code, @args) = @_;
    my $dir = tempdir(CLEANUP => 1);
    open my $fh, '>', "$dir/program.pl" or die $!;
    print $fh $code;
    close $fh;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>', "$dir/out";
        open STDERR, '>&', \*STDOUT;
        exec $^X, (ref $args[0] ? @{ shift @args } : ()), libraries(), "$dir/program.pl", @args;
    }
    my $done = wait_for { waitpid $pid, WNOHANG };
    my $status = $?;
    if (!$done) {
        kill KILL => $pid;
        waitpid $pid, 0;
        $status = -1;
    }
    open $fh, '<', "$dir/out" or die $!;
    local $/;
    return ($status, scalar <$fh>);
}

# start(body => methods of the class Served, before => code that runs first, attr => more attributes
# as code, args => command line, perl => switches, ready => what the log says then, main => what to do instead of Bind, port => 0:
# none is given)
sub start {
    my ($class, %want) = @_;
    my $dir  = tempdir(CLEANUP => 1);
    my $port = $want{port} // free_port();
    my $self = bless { dir => $dir, port => $port }, $class;

    $_ //= '' for @want{qw(body before attr)};
    $want{main} //= '$server->Bind();';
    open my $fh, '>', "$dir/server.pl" or die $!;
    print $fh <<"CODE";
use strict;
use warnings;
our \$dir;
BEGIN { \$dir = '$dir' }
$want{before}
use Net::Daemon;
package Served;
our \@ISA = 'Net::Daemon';
sub Version { 'Served 1' }
sub say_to_log { my (undef, \@words) = \@_; print STDERR "SAY \@words\\n" }
sub Run { my \$s = \$_[0]{socket}; while (defined(my \$l = \$s->getline)) { \$s->print(\$l) } }
BEGIN { no warnings; eval q{
#line 1 "body"
$want{body}
; 1 } or die }
package main;
our \$server = Served->new({
    logfile => 'STDERR', pidfile => 'none',
    @{[$port ? "localaddr => '127.0.0.1', localport => $port," : '']}
    $want{attr}
}, \\\@ARGV);
$want{main}
print STDERR "SAY Bind returned\\n";
CODE
    close $fh;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        setpgrp;
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>>', "$dir/log";
        open STDERR, '>&', \*STDOUT;
        exec $^X, @{ $want{perl} || [] }, libraries(), "$dir/server.pl", @{ $want{args} || [] };
    }
    $self->{pid} = $pid;
    my $ready = $want{ready} || qr/notice, (?:\d+, )?Server starting$/m;
    wait_for { $self->log =~ $ready || $self->ended };
    return $self;
}

sub dir  { $_[0]{dir} }
sub port { $_[0]{port} }
sub pid  { $_[0]{pid} }

sub log {
    my $self = shift;
    open my $fh, '<', "$self->{dir}/log" or return '';
    local $/;
    return scalar(<$fh>) // '';
}

# The log without stamps.
sub events {
    my $self = shift;
    return map { s/^\w+ \w+ +\d+ [\d:]+ \d+ //r } split /\n/, $self->log;
}

sub logs {
    my ($self, $pattern) = @_;
    return wait_for { $self->log =~ $pattern };
}

sub connect {
    my $self = shift;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, @_);
    return $socket;
}

# Say something on a connection (of its own), get one line; undef: the other end closed or hangs.
sub ask {
    my ($self, $words, $socket) = @_;
    $socket ||= $self->connect or return undef;
    local $SIG{PIPE} = 'IGNORE';
    print $socket $words;
    $socket->flush;
    return answer($socket);
}

sub answer {
    my $socket = shift;
    my $line;
    eval {
        local $SIG{ALRM} = sub { die "too late\n" };
        alarm $patience;
        $line = <$socket>;
        alarm 0;
        1;
    } or diag_late();
    return $line;
}

sub diag_late { print STDERR "# no answer in $patience s\n" }

# True once the process has ended; its status is in status().
sub ended {
    my $self = shift;
    return 1 if defined $self->{status};
    my $pid = waitpid $self->{pid}, WNOHANG;
    return 0 unless $pid == $self->{pid};
    $self->{status} = $?;
    return 1;
}

sub status { $_[0]{status} }

sub ends {
    my $self = shift;
    return wait_for { $self->ended };
}

# End it by this signal, and whatever it has started too. Returns whether it ended by itself.
sub stop {
    my ($self, $signal) = @_;
    kill $signal || 'TERM', $self->{pid} unless $self->ended;
    my $ended = $self->ends;
    kill 'KILL', -$self->{pid};
    waitpid $self->{pid}, 0 unless $ended;
    return $ended;
}

sub DESTROY {
    my $self = shift;
    local ($?, $!);
    return unless $self->{pid};
    kill 'KILL', -$self->{pid};
    waitpid $self->{pid}, 0 unless defined $self->{status};
}

1;
