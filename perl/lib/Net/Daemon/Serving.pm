package Net::Daemon::Serving;

# The steps of Net::Daemon::Bind, and what a running Bind has to undo: signals, listening sockets,
# socket files, the pid file. An object of this class is a lexical of Bind, so all is undone however
# Bind is left; only in the process and the thread that began it.
#
# Happy path: begin -> listen -> write_pidfile -> drop_privileges -> prefork -> wait, accept, again
# and again -> drain -> end. Failure modes: what cannot be started ends Bind by the daemon's Fatal; what
# runs out later is logged once, accepting pauses, and goes on by itself.

use strict;
use warnings;

use Errno             ();
use IO::Socket        ();
use POSIX             ();
use Scalar::Util      ();
use Net::Daemon::Core ();

our $VERSION = '1.00';

# What we log is ready text: a Log of the program's may know no formats.
my ($literal, $reason, $quietly) = map { Net::Daemon::Core->can($_) } qw(literal reason quietly);

# The Bind that runs in this process; undef: none does.
our $Current;

# True while a connection is served in this process and thread, not only waited for.
our $Running = 0;

# True in an accept of the program's, which may sit and wait for a client to say something.
our $Accepting = 0;

# True once child processes are counted here: before that nobody needs to hear of them.
our $Counts = 0;

# ------------------------------------------------------------------------------ beginning and end

sub begin {
    my ($class, $daemon) = @_;
    my $self = bless {
        daemon  => $daemon,
        core    => Net::Daemon::Core->new(),
        pid     => $$,
        outer   => $Current,
        sockets => [],                         # of ours, beside $daemon->{'socket'}
        signals => {},                         # name => what was there before
        left    => 0,                          # true in a child of ours, which must not act for us
    }, $class;
    $Current = $self;
    Scalar::Util::weaken($Current);
    # With workers these are for us, whatever the program has set: it gets them back in the workers.
    for my $name (qw(TERM INT)) {
        next unless _is_free($name) || $daemon->{'childs'};
        push @{ $self->{for_workers} }, $name unless _is_free($name);
        $self->_set_signal($name, sub { _stop($name) });
    }
    $self->_set_signal('PIPE', \&_broken_pipe) if _is_free('PIPE');
    return $self;
}

sub DESTROY {
    my $self = shift;
    return unless $self->_is_owner();
    local ($@, $!, $?);
    $Current = $self->{outer};
    Scalar::Util::weaken($Current) if $Current;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT';
    $self->_restore_signals();
    return if $self->{worker};    # others wait at the same sockets
    $_->blocking(1) for grep { defined fileno $_ } @{ $self->{unblocked} || [] };
}

# A thread's copy of the handle is no handle.
sub _is_owner {
    my $self = shift;
    return $self->{pid} == $$ && ref $self->{core} eq 'Net::Daemon::Core';
}

my $is_warm;

# What a child would have to find out, each for itself and in memory of its own: where the methods
# are that every connection calls. Perl remembers it once it has been asked. A thread has a copy of
# all that, so there it would not pay.
sub warm_up {
    my $self   = shift;
    my $daemon = $self->{daemon};
    return Net::Daemon::Core::keep_shared() if ($daemon->{'mode'} || '') eq 'ithreads';
    $daemon->can($_) for qw(HandleChild Accept Run Debug Log Error Close ChildFunc Clone ServClose Done);
    my $socket = Scalar::Util::blessed($daemon->{'socket'}) ? $daemon->{'socket'} : 'IO::Socket';
    $socket->can($_)
      for qw(autoflush blocking close eof fileno flush getline peeraddr peerhost peerport print printf
      printflush read syswrite sysread write);
    Net::Daemon::Core::together() unless $is_warm++;    # it leaves some memory unused
}

# ---------------------------------------------------------------------------------------- signals

sub _is_free {
    my $handler = $SIG{ $_[0] };
    return !defined $handler || $handler eq '' || $handler eq 'DEFAULT';
}

sub _set_signal {
    my ($self, $name, $handler) = @_;
    $self->{signals}{$name} = $SIG{$name} unless exists $self->{signals}{$name};
    $SIG{$name} = $handler;
}

sub _restore_signals {
    my $self = shift;
    while (my ($name, $before) = each %{ $self->{signals} }) {
        $SIG{$name} = $before // 'DEFAULT';
    }
    $self->{signals} = {};
}

# What SigChildHandler gave.
sub reap_by {
    my ($self, $handler) = @_;
    $self->{reaper} = $handler;    # kept: a child that lets go of it has nothing to free
    $self->_set_signal('CHLD', $handler) if $handler;
}

# TERM or INT, and the program has no handler for it, or we have workers: the server ends. Who serves
# a connection just now in this very process ends as if there were no handler, unless it may finish.
sub _stop {
    my $name = shift;
    my $self = $Current;
    local ($@, $!, $?);
    if (!$self || $self->{pid} != $$) {
        my $theirs = $self && $self->{for_workers} && $self->{signals}{$name} or _end_by($name);
        $SIG{$name} = $theirs;    # a worker that has not got it back yet
        return kill $name, $$;
    }
    my $again = $self->{stopped} || ($self->{worker} && getppid != $self->{worker});
    $self->{stopped} = $name;
    $self->{core}->interrupt() if $self->{core};    # a wait that is about to begin
    $self->{daemon}->Done(1);
    my $patience = $self->patience();
    $self->{core}->kill_children(POSIX::SIGTERM()) if $again && $patience;
    if ($Running) {
        $self->end_by($name) if $again || !$patience;
        Net::Daemon::Core::signal_after(POSIX::SIGTERM(), $patience);
    }
    elsif ($again || $self->{worker}) {
        $self->end_by($name);
    }
    elsif ($Accepting) {
        die "ended by $name\n";    # as far as accept()
    }
}

# End by this signal, with nothing left behind.
sub end_by {
    my ($self, $name) = @_;
    undef $self->{core};
    _end_by($name);
}

sub _end_by {
    my $name   = shift;
    my $number = POSIX->can("SIG$name")->();
    $SIG{$name} = 'DEFAULT';
    kill $name, $$;
    POSIX::sigprocmask(POSIX::SIG_UNBLOCK(), POSIX::SigSet->new($number));    # Perl blocks it here
    POSIX::_exit(128 + $number);                                              # never reached
}

# A client has gone, and is written to. Without us that would end the process.
sub _broken_pipe {
    _end_by('PIPE') unless $Current && $Current->{pid} == $$;
    die "Broken pipe\n" if $Running;
}

# ------------------------------------------------------------------------------------------ start

# Each address is bound before anybody is served.
sub listen {
    my $self   = shift;
    my $daemon = $self->{daemon};
    my @more   = $daemon->{'bind'} ? @{ ref $daemon->{'bind'} ? $daemon->{'bind'} : [$daemon->{'bind'}] } : ();

    if (!$daemon->{'socket'}) {
        my $asked = defined $daemon->{'localport'} || defined $daemon->{'localaddr'}
          || defined $daemon->{'localpath'} || $daemon->{'proto'};
        if ($asked || !@more) {
            my ($first, @others) = $self->_listen_as_configured();
            $daemon->{'socket'} = $first;
            push @{ $self->{sockets} }, @others;
        }
    }
    for my $address (@more) {
        my @sockets = $self->_try_to_open($address)
          or $daemon->Fatal('Cannot create socket: ' . $reason->($@));
        $daemon->{'socket'} ||= shift @sockets;
        push @{ $self->{sockets} }, @sockets;
    }
    $daemon->{'proto'} ||= $daemon->{'socket'}->isa('IO::Socket::UNIX') ? 'unix' : 'tcp';
}

sub _listen_as_configured {
    my $self   = shift;
    my $daemon = $self->{daemon};

    $daemon->{'proto'} ||= $daemon->{'localpath'} ? 'unix' : 'tcp';
    if ($daemon->{'proto'} eq 'unix') {
        my $path = $daemon->{'localpath'} or $daemon->Fatal('Missing option: localpath');
        my @sockets = $self->_try_to_open("unix:$path");
        return @sockets if @sockets;
        my ($name, $why) = ($literal->($path), $reason->($@, "unix:$path"));
        $daemon->Fatal("Can't remove stale Unix socket ($name): $why") if -e $path || -l $path;
        $daemon->Fatal("Cannot create Unix socket $name: $why");
    }
    my $address = $quietly->(sub { tcp_address(@$daemon{qw(localaddr localport proto)}) });
    my @sockets = $address ? $self->_try_to_open($address) : ();
    return @sockets ? @sockets : $daemon->Fatal('Cannot create socket: ' . $reason->($@));
}

sub _try_to_open {
    my ($self, $address) = @_;
    return $quietly->(sub { open_sockets($self->{core}, $self->{daemon}, $address) });
}

# "tcp:HOST:PORT" for what IO::Socket::INET understands: names, "smtp(25)", "host:port". Without a
# host it is every IPv4 address, as ever; "*" is IPv6 as well.
sub tcp_address {
    my ($host, $port, $proto) = @_;
    die "Unknown protocol '$proto'\n" unless ($proto // 'tcp') =~ /\Atcp\z/i;
    $host = '' unless defined $host;
    ($host, $port) = ($1, $2) if $host =~ /\A([^:\[\]]*):([\w()]+)\z/;
    $host =~ s/\A\[(.*)\]\z/$1/;
    $host = '0.0.0.0' if $host eq '';
    if ($host ne '*' && $host !~ /:/) {
        my $packed = Socket::inet_aton($host);
        $host = Socket::inet_ntoa($packed) if $packed;
    }
    $port = '' unless defined $port;
    if ($port =~ /\A(.+)\((\d+)\)\z/) {
        $port = (getservbyname $1, 'tcp')[2] // $2;
    }
    $port = '0' if $port eq '';
    return $host =~ /:/ ? "tcp:[$host]:$port" : "tcp:$host:$port";
}

# Sockets of the right class that listen at "tcp:HOST:PORT" or "unix:PATH"; dies with words.
sub open_sockets {
    my ($core, $daemon, $address) = @_;
    my $mode = $daemon->{'localmode'} // 0777;
    $mode = oct $mode if $mode =~ /\A0/;
    return map { _socket_of($_) } $core->listen($address, $daemon->{'listen'} || 10, $mode);
}

# Descriptor to object: the class programs expect, by the family.
sub _socket_of {
    my $fd = shift;
    my $socket = IO::Socket::INET->new_from_fd($fd, 'r+') or die "descriptor $fd: $!\n";
    my $family = Socket::sockaddr_family(getsockname $socket);
    if ($family == Socket::AF_UNIX()) {
        bless $socket, 'IO::Socket::UNIX';
    }
    elsif ($family != Socket::AF_INET()) {
        require IO::Socket::IP;
        bless $socket, 'IO::Socket::IP';
    }
    $socket->autoflush(1);
    @{*$socket}{qw(io_socket_domain io_socket_type io_socket_proto)} =
      ($family, Socket::SOCK_STREAM(), $family == Socket::AF_UNIX() ? 0 : Socket::IPPROTO_TCP());
    return $socket;
}

sub write_pidfile {
    my $self   = shift;
    my $daemon = $self->{daemon};
    my $path   = $daemon->{'pidfile'};

    return if !defined $path || $path eq '' || $path eq 'none';
    $daemon->Debug('Writing PID to ' . $literal->($path));
    $quietly->(sub {
        if (-c $path) {    # /dev/null and its like: nothing to lock or to remove
            my ($clean) = $path =~ /\A(.*)\z/s;
            open my $fh, '>', $clean or die "$!\n";
            local ($,, $\);
            print($fh "$$\n") && close $fh or die "$!\n";
        }
        else {
            $self->{core}->pidfile($path);
        }
        1;
    }) or $daemon->Fatal('Cannot write to ' . $literal->($path) . ': ' . $reason->($@, $path));
}

# All names are looked up before chroot takes the databases away.
sub drop_privileges {
    my $self   = shift;
    my $daemon = $self->{daemon};
    my ($root, $group, $user) = @$daemon{qw(chroot group user)};
    my ($user_name, $group_name);

    return unless $root || $group || $user;
    if ($group) {
        $quietly->(sub { $self->{core}->identity(undef, $group); 1 })
          or $daemon->Fatal('Cannot determine gid of ' . $literal->($group) . ': ' . $reason->($@));
    }
    $quietly->(sub { ($user_name, $group_name) = $self->{core}->identity($user, $group || undef); 1 })
      or $daemon->Fatal('Cannot determine uid of ' . $literal->($user) . ': ' . $reason->($@));

    $daemon->Debug('Changing root directory to ' . $literal->($root)) if $root;
    $daemon->Debug('Changing GID to ' . $literal->($group)) if $group;
    $daemon->Log('notice', $literal->("Taking $group_name, the group of user $user"))
      if $user && !$group;
    $daemon->Debug('Changing UID to ' . $literal->($user)) if $user;
    $quietly->(sub { $self->{core}->drop($root || undef, $daemon->{'no-new-privs'} ? 1 : 0); 1 })
      or $daemon->Fatal('Cannot drop privileges: ' . $reason->($@));
}

# ---------------------------------------------------------------------------------------- workers

# Make the worker processes, and others when some have ended. True in a worker, which is to accept
# connections; false in the parent, when all is over.
sub prefork {
    my $self   = shift;
    my $daemon = $self->{daemon};
    my $pids   = $daemon->{'childpids'} = {};    # number => when it was started
    my $delay  = 0;                              # before those are replaced that end at once
    my $next   = 0;                              # when workers may be started
    # Done is for the workers: it may count what they have served.
    until ($daemon->{'done'} || $self->{stopped} || $Net::Daemon::exit) {
        my $now = Net::Daemon::Core::now();
        while ($now >= $next && keys %$pids < $daemon->{'childs'} && !$self->{stopped}) {
            my $pid = fork;
            POSIX::_exit(0) if defined $pid && !$pid && $self->{stopped};    # since we asked
            return $self->_become_worker() if defined $pid && !$pid;
            if ($pid) {
                $pids->{$pid} = $now;
            }
            else {
                $daemon->Error($literal->('Cannot fork child ', 1 + keys %$pids, " of $daemon->{'childs'}: $!"));
                $daemon->Fatal('Cannot fork any child') unless %$pids || $next;
                $next = $now + 1;
            }
        }
        $self->{core}->wait(0, 0, $next > $now && $next - $now < 1 ? $next - $now : 1, -1);
        if (grep { $_ < 1 } $self->_take_ended($pids)) {
            $delay = $delay ? ($delay < 16 ? $delay * 2 : 32) : 0.25;
            $next  = Net::Daemon::Core::now() + $delay;
        }
        elsif (Net::Daemon::Core::now() > $next + 60) {
            $delay = 0;
        }
    }
    $self->_end_workers($pids);
    return 0;
}

sub _become_worker {
    my $self = shift;
    $SIG{'CHLD'} = 'DEFAULT' if $self->{reaper};
    delete $self->{signals}{'CHLD'};
    $SIG{$_} = delete $self->{signals}{$_} for @{ $self->{for_workers} || [] };
    $self->{worker} = $self->{pid};    # who looks after us
    $self->{pid}    = $$;
    $self->{core}->forget();
    $self->{daemon}{'childpids'} = {};
    Net::Daemon::Core::end_with_parent(POSIX::SIGTERM());
    return 1;
}

# Forget those that have ended. Returns for how many seconds each has lived.
sub _take_ended {
    my ($self, $pids, @lives) = @_;
    for my $pid (grep { has_ended($_) } keys %$pids) {
        push @lives, Net::Daemon::Core::now() - delete $pids->{$pid};
        $self->{daemon}->Log('notice', "Child $pid has ended, starting another")
          unless $self->{daemon}{'done'} || $self->{stopped};
    }
    return @lives;
}

# Reaped by us just now, or by the program's own handler before.
sub has_ended {
    my $pid = shift;
    my $gone = waitpid $pid, POSIX::WNOHANG();
    return $gone == $pid || $gone == -1;
}

sub _end_workers {
    my ($self, $pids) = @_;
    my $daemon = $self->{daemon};
    $daemon->Debug('kill TERM childs: ' . join ',', keys %$pids);
    kill 'TERM', keys %$pids;
    $self->_await(sub { delete @$pids{ grep { has_ended($_) } keys %$pids }; !%$pids });
    kill 'KILL', keys %$pids if $self->patience();
    return unless $self->{stopped};
    undef $self->{core};
    exit 0;
}

# ------------------------------------------------------------------------------------- accepting

# How many connections are being served beside this loop.
sub _count {
    my $self = shift;
    my $mode = $self->{daemon}{'mode'} || '';
    return Net::Daemon::Core::serving_count() if $mode eq 'ithreads';
    return $mode eq 'fork' ? $self->{core}->children() : 0;
}

# What to wait for, as long as the daemon's socket is the same. Sockets whose accept is IO::Socket's
# are accepted from in C, and made non-blocking for that: another process may be faster. Others have
# their accept called; who is no socket of the system at all, without waiting.
sub _look_at_sockets {
    my $self    = shift;
    my $daemon  = $self->{daemon};
    my @sockets = ($daemon->{'socket'}, @{ $self->{sockets} });
    my @sources;

    for my $socket (@sockets) {
        my $fd = $quietly->(sub { fileno $socket }) // -1;
        my $plain = $fd >= 0 && _is_plain($socket);
        if ($plain && $socket->blocking()) {
            $socket->blocking(0);
            push @{ $self->{unblocked} }, $socket;
        }
        push @sources, $fd, $plain ? $socket : undef, _proto_of($socket, $daemon->{'proto'} || 'tcp');
    }
    $self->{all}     = \@sockets;
    $self->{sources} = \@sources;
    $self->{blind}   = $sources[0] < 0;
    $self->{seen}    = $daemon->{'socket'};
}

# What IO::Socket's accept calls for a connection has to be IO::Socket's as well.
sub _is_plain {
    my $socket = shift;
    for my $method (qw(accept new configure)) {
        my $code = $socket->can($method) or return 0;
        return 0 unless grep { $code == ($_->can($method) || 0) }
          qw(IO::Socket::INET IO::Socket::UNIX IO::Socket::IP IO::Socket);
    }
    return 1;
}

# Listeners of both kinds may serve one daemon.
sub _proto_of {
    my ($socket, $proto) = @_;
    return 'unix' if $socket->isa('IO::Socket::UNIX');
    return $proto eq 'unix' && ($socket->isa('IO::Socket::INET') || $socket->isa('IO::Socket::IP'))
      ? 'tcp' : $proto;
}

# The next connection of a socket with an accept of its own; undef: there is none, and who is to know
# why has been told.
sub accept {
    my ($self, $index, $error) = @_;
    if (!$error) {
        $! = 0;
        my $socket = eval { local $Accepting = 1; $self->{all}[$index]->accept() };
        if ($@) {
            die $@ unless $self->{stopped};
            return undef;
        }
        if ($socket) {
            $self->{core}->resume();
            return $socket;
        }
        $error = $! + 0;
    }
    undef $self->{seen};    # the socket may be another by now, or none
    $self->_accept_failed($error);
    return undef;
}

my %is_shortage = map { Errno->can($_)->() => 1 }
  qw(EMFILE ENFILE ENOBUFS ENOMEM EBADF EINVAL ENOTSOCK EOPNOTSUPP);

sub _accept_failed {
    my ($self, $error) = @_;
    return if $error == POSIX::EAGAIN() || $error == POSIX::EWOULDBLOCK();
    return if $error == POSIX::EINTR() && $self->{daemon}{'catchint'};
    local $! = $error;
    $self->failed("$!", $is_shortage{$error});
}

# Accepting has failed: say so, and leave the sockets alone for a moment when it would only fail
# again; then it is not said each time.
sub failed {
    my ($self, $words, $pause) = @_;
    my $daemon = $self->{daemon};
    return if $pause && !defined $self->{core}->pause();
    $daemon->Error($literal->(ref($daemon), " server failed to accept: $words"));
}

# ------------------------------------------------------------------------ children, threads, the end

# A child of this process was forked, or has ended: of interest to who counts them.
sub child_started {
    my $self = $Current or return;
    return unless $self->{daemon}{'max-connections'} || $self->{daemon}{'drain-timeout'};
    $self->{core}->child_started($_[0]) if $self->_is_owner();
}

sub child_ended {
    $Current->{core}->child_ended($_[0]) if $Current && $Current->_is_owner();
}

# How long connections may go on after the end of accepting, in seconds.
sub patience {
    my $seconds = $_[0]{daemon}{'drain-timeout'};
    return $seconds && $seconds > 0 ? $seconds : 0;
}

# Look every now and then whether all is over, for as long as patience lasts.
sub _await {
    my ($self, $over) = @_;
    my $end = Net::Daemon::Core::now() + $self->patience();
    until ($over->()) {
        my $left = $end - Net::Daemon::Core::now();
        last if $left <= 0;
        $self->{core}->wait(0, 0, $left < 0.1 ? $left : 0.1, -1);
    }
}

# Nobody is accepted any more: close, let those finish who are being served, cut them after that.
sub drain {
    my $self   = shift;
    my $daemon = $self->{daemon};

    return unless $self->patience();
    CORE::close($_) for grep { defined fileno $_ } $daemon->{'socket'}, @{ $self->{sockets} };
    $self->_await(sub { !$self->_count() });
    $self->{core}->kill_children(POSIX::SIGTERM());
}

# After all: threads that a signal meant as well can only be ended with their process.
sub end {
    my $self = shift;
    $self->end_by($self->{stopped}) if $self->{stopped} && Net::Daemon::Core::serving_count();
}

# --------------------------------------------------------------------------------- each connection
#
# These are next to each other because of the memory they write to when they are called: after each
# fork, a page of memory has to be copied when it is written to.

# Wait for the next event. Returns it, and with ACCEPT the connection and its protocol. Without a
# connection there is more after these, for accept(): which socket it is, and what went wrong.
sub wait {
    my $self    = shift;
    my $daemon  = $self->{daemon};
    my $threads = ($daemon->{'mode'} || '') eq 'ithreads';

    if (my $limit = $daemon->{'max-connections'}) {
        $Counts = 1;
        if ($self->_count() >= $limit) {
            my $wake = $threads ? Net::Daemon::Core::serving_wake_fd() : -1;
            return $self->{core}->wait($threads, $daemon->{'loop-timeout'} || 0, 1, $wake);
        }
    }
    $Counts = 1 if $daemon->{'drain-timeout'};
    $self->_look_at_sockets() unless $self->{seen} && $self->{seen} == $daemon->{'socket'};
    return (Net::Daemon::Core::ACCEPT, undef, $self->{sources}[2], 0) if $self->{blind};
    return $self->{core}->wait($threads, $daemon->{'loop-timeout'} || 0, -1, -1, @{ $self->{sources} });
}

# Have this connection served the way the mode has it. Where no child or thread is to be had: log it, go
# on. What a handler of a signal dies of in the meantime is for the caller of Bind.
sub serve {
    my ($self, $client) = @_;
    my $daemon = $self->{daemon};

    return $client->ChildFunc('HandleChild') if ($daemon->{'mode'} || '') eq 'single';
    return if eval { $client->ChildFunc('HandleChild'); 1 };
    die $@ if ref $@ || $@ !~ /\ACannot (?:fork|start a thread): /;
    $daemon->Error($reason->($@));
    $self->{core}->pause();
}

# A child has been forked, or a thread begun, for one call: the listening sockets, the pid file and
# the CHLD handler of the server are not its own; the other handlers see that they are in a child. It
# does little, because each page of memory that a child writes to has to be copied.
sub leave {
    my $serving = $Current or return;
    my $daemon = $serving->{daemon};
    return if $serving->{left};
    $serving->{left} = 1;
    if (ref $serving->{core} eq 'Net::Daemon::Core') {
        $serving->{core}->leave($daemon->{'socket'}, @{ $serving->{sockets} });
        $SIG{'CHLD'} = 'DEFAULT' if $serving->{reaper};
    }
    else {    # a thread: a socket that it shares with the server lives on
        CORE::close($_) for grep { ref && defined fileno $_ } $daemon->{'socket'}, @{ $serving->{sockets} };
    }
}

1;
