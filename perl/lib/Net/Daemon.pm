package Net::Daemon;

use 5.014;
use strict;
use warnings;

# First of all, so that they end up next to each other: each connection has a copy of the object.
use Net::Daemon::Core ();
BEGIN {
    Net::Daemon::Core::keep_names(
        qw(args bind catchint childpids childs chroot client clients configfile debug done drain-timeout
          facility group listen localaddr localmode localpath localport logfile logname loop-child
          loop-timeout max-connections mode options parent pidfile proto socket timeout user GEN));
}

use Config;
use File::Spec           ();
use Getopt::Long         ();
use IO::Socket           ();
use IO::Socket::INET     ();
use IO::Socket::UNIX     ();
use POSIX                ();
use Symbol               ();
BEGIN { Net::Daemon::Core::together() }    # and so does what follows
use Net::Daemon::Access  ();
use Net::Daemon::Serving ();
use Net::Daemon::Log     ();

our $VERSION = '1.00';
our @ISA     = qw(Net::Daemon::Log);

# Threads where this Perl has them: programs count on them being loaded. forks.pm stands in for them.
our $RegExpLock = 1;
if ($Config{'useithreads'} && !$INC{'forks.pm'}) {
    if (eval { require threads; require threads::shared; 1 }) {
        &threads::shared::share(\$RegExpLock);
        Net::Daemon::Core::keep_shared();
    }
}

# Debug says nothing without the attribute: then nobody needs to find out what it would say.
my $own_debug = \&Net::Daemon::Log::Debug;

# What we log is ready text: a Log of the program's may know no formats.
my $literal = \&Net::Daemon::Core::literal;

# True: a parent of workers stops looking after them.
our $exit = 0;

# ---------------------------------------------------------------------------------- one connection
#
# What every connection calls comes first: see "each connection" in Net::Daemon::Serving.

# Its object.
sub Clone ($$) {
    my ($proto, $socket) = @_;
    my $self = bless Net::Daemon::Core::copy_of($proto), ref $proto;

    $self->{'socket'} = $socket;
    $self->{'parent'} = $proto;
    $self->post_clone() if $self->can('post_clone');
    return $self;
}

# May this client be served? The first rule of "clients" that it meets decides.
sub Accept ($) {
    my $self = shift;
    my $proto = $self->{'proto'} || '';

    if (my $clients = $self->{'clients'}) {
        my $peer = Net::Daemon::Access::peer($self->{'socket'}, $proto, $self->{'strict-names'});
        my $rule = Net::Daemon::Access::rule_for($clients, $peer,
            sub { $self->Error('A rule in clients cannot be understood: ' . $literal->(@_)) });
        if (!$rule || !$rule->{'accept'}) {
            $self->Error('Access not permitted from '
                  . $literal->(Net::Daemon::Access::words($self->{'socket'}, $proto)));
            return 0;
        }
        $self->{'client'} = $rule;
    }
    $self->Debug('Accepting client from '
          . $literal->(Net::Daemon::Access::words($self->{'socket'}, $proto)))
      if $self->{'debug'} || $self->can('Debug') != $own_debug;
    return 1;
}

# The work itself: for subclasses to do.
sub Run ($) {
}

sub HandleChild {
    my $self = shift;

    $self->Debug('New child starting (' . $literal->($self) . ').')
      if $self->{'debug'} || $self->can('Debug') != $own_debug;
    my $lived = eval {
        local $Net::Daemon::Serving::Running = 1;
        if (!$self->Accept()) {
            $self->Error('Refusing client');
        }
        else {
            $self->Debug('Accepting client');
            $self->Run();
        }
        1;
    };
    $self->Error('Child died: ' . $literal->($@)) unless $lived;
    $self->Debug('Child terminating.');
    $self->Close();
}

# Both take a socket that is not there.
sub Close {
    my $socket = $_[0]{'socket'};
    $socket->close() if $socket;
}

# The server's copy of a socket that a child process has now.
sub ServClose {
    my ($self, $socket) = @_;
    $socket->close() if $socket && ($self->{'mode'} || '') eq 'fork';
}

# -------------------------------------------------------------------------------------- the server

# True: the server is to end. Asked before each accept.
sub Done ($;$) {
    my $self = shift;
    $self->{'done'} = shift if @_;
    return $self->{'done'};
}

# Called every "loop-timeout" seconds: for subclasses to do.
sub Loop {
}

# Call a method the way the mode serves connections: here, in a thread, in a child process.
sub ChildFunc {
    my ($self, $method) = (shift, shift);

    if (($self->{'mode'} || '') eq 'single') {
        $self->$method(@_);
    }
    elsif (($self->{'mode'} || '') eq 'ithreads') {
        my @args = @_;
        Net::Daemon::Core::serving_started();
        my $thread = threads->create(
            sub {
                my $end = bless [], 'Net::Daemon::Serving::Thread';
                Net::Daemon::Serving::leave();
                $self->$method(@args);
                return;
            });
        if (!$thread) {
            Net::Daemon::Core::serving_ended();
            die "Cannot start a thread: $!\n";
        }
        $thread->detach();
    }
    else {
        my $pid = fork;
        die "Cannot fork: $!\n" unless defined $pid;
        if ($pid) {
            Net::Daemon::Serving::child_started($pid) if $Net::Daemon::Serving::Counts;
            return;
        }
        Net::Daemon::Serving::leave();
        if (eval { $self->$method(@_); 1 }) {
            Net::Daemon::Core::end_child() unless defined &CORE::GLOBAL::exit;
            exit 0;
        }
        local ($,, $\);
        print STDERR $@;
        exit 255;
    }
}

# What reaps child processes: a handler for CHLD, or undef. It leaves the last number in $$pid.
sub SigChildHandler {
    my ($self, $pid) = @_;

    return undef unless ($self->{'mode'} || '') eq 'fork' || $self->{'childs'};
    return sub {
        local ($!, $?);
        while ((my $ended = waitpid -1, POSIX::WNOHANG()) > 0) {
            $$pid = $ended;
            Net::Daemon::Serving::child_ended($ended) if $Net::Daemon::Serving::Counts;
        }
    };
}

# Run the server: everything from here until it is done.
sub Bind ($) {
    my $self    = shift;
    my $serving = Net::Daemon::Serving->begin($self);    # what it does is undone when we are left
    my $pid;

    $serving->reap_by($self->SigChildHandler(\$pid));
    $serving->listen();
    $self->Log('notice', 'Server starting');
    $serving->write_pidfile();
    $serving->drop_privileges();
    $serving->warm_up();
    my $serves = $self->{'childs'} ? $serving->prefork() : 1;

    # Asked each time, but TERM ends a server whose Done never says yes, too.
    while ($serves && !$self->Done() && !$serving->{stopped}) {
        my ($event, $socket, $proto, @trouble) = $serving->wait();

        if ($event == Net::Daemon::Core::ACCEPT) {
            $socket ||= $serving->accept(@trouble) or next;
            $self->Debug('Connection from ' . $literal->(Net::Daemon::Access::words($socket, $proto)))
              if $self->{'debug'} || $self->can('Debug') != $own_debug;
            # Ours does not fail, and what a handler of a signal dies of then has to leave us.
            my $may_fail = $self->can('post_clone') || $self->can('Clone') != \&Clone;
            my $client = $may_fail ? eval { $self->Clone($socket) } : $self->Clone($socket);
            if ($client) {
                $client->{'proto'} = $proto;
                $serving->serve($client);
            }
            elsif ($may_fail && $@) {
                $self->Error('Child died: ' . $literal->($@));
            }
            $self->ServClose($socket);
        }
        elsif ($event == Net::Daemon::Core::TIMER) {
            $self->{'loop-child'} ? $self->ChildFunc('Loop') : $self->Loop();
        }
        elsif ($event == Net::Daemon::Core::INTR && !$self->{'catchint'}) {
            local $! = POSIX::EINTR();
            $serving->failed("$!");
        }
    }

    $serving->drain() if $serves;
    $self->Log('notice', ref($self) . ' server terminating');
    $serving->end();
}

# ---------------------------------------------------------------------------------- command line

# Template of Getopt::Long and description of each option.
my @options = (
    ['bind=s@', '--bind <address>', "Listen there too: tcp:host:port, tcp:[v6]:port,\n"
          . 'unix:path; may be given several times'],
    ['catchint!', '--nocatchint', "Report system calls that signals interrupt;\n"
          . 'by default they are just repeated'],
    ['childs=i', '--childs <num>', 'Number of worker processes, made beforehand'],
    ['chroot=s', '--chroot <dir>', 'Change root directory to this, after binding'],
    ['configfile=s', '--configfile <file>', 'Read attributes from this file of Perl code'],
    ['debug', '--debug', 'Log debugging messages, too'],
    ['drain-timeout=f', '--drain-timeout <secs>', "How long connections may go on after the end,\n"
          . 'before they are cut; default: not waited for'],
    ['facility=s', '--facility <name>', 'Facility of syslog; default is daemon'],
    ['group=s', '--group <gid>', 'Group to run as, after binding'],
    ['help', '--help', 'Print this and exit'],
    ['listen=i', '--listen <num>', 'Length of the queue of connections; default is 10'],
    ['localaddr=s', '--localaddr <ip>', "Address to listen at; default is every IPv4\n"
          . 'address, * is every address of both kinds'],
    ['localmode=s', '--localmode <mode>', 'Permissions of Unix sockets; default is 0777'],
    ['localpath=s', '--localpath <path>', 'Listen at a Unix socket with this path'],
    ['localport=s', '--localport <port>', 'Port to listen at'],
    ['logfile=s', '--logfile <file>', "Append log messages to this file, or to STDERR;\n"
          . 'default is syslog'],
    ['loop-child', '--loop-child', 'Run Loop in a child or thread of its own'],
    ['loop-timeout=f', '--loop-timeout <secs>', 'Run Loop every so many seconds; default is never'],
    ['max-connections=i', '--max-connections <num>', 'Serve at most so many at a time'],
    ['mode=s', '--mode <mode>', 'How to serve clients: ithreads, fork, single'],
    ['no-new-privs', '--no-new-privs', "With --user: programs that are started later gain\n"
          . 'no rights, either'],
    ['pidfile=s', '--pidfile <file>', "File for the number of the process; 'none' or\n"
          . 'nothing for none'],
    ['proto=s', '--proto <protocol>', 'tcp or unix; default by --localpath'],
    ['strict-names', '--strict-names', "Rules that deny by name meet clients that have no\n"
          . 'confirmed name, too'],
    ['user=s', '--user <uid>', 'User to run as, after binding'],
    ['version', '--version', 'Print the version and exit'],
);

# Those the original does not have.
my %is_new = map { $_ => 1 }
  qw(bind drain-timeout localmode max-connections no-new-privs strict-names);

sub Options ($) {
    my %options;
    for my $option (@options) {
        my ($template, $usage, $words) = @$option;
        my ($name) = $template =~ /\A([\w-]+)/;
        $words =~ s/\n/"\n" . ' ' x 26/ge;
        $options{$name} =
          { 'template' => $template, 'description' => sprintf('%-23s %s', $usage, $words) };
    }
    return \%options;
}

sub Version ($) {
    return "Net::Daemon $VERSION, a base class for daemons";
}

sub Usage ($) {
    my $self    = shift;
    my $options = $self->Options();
    my @words   = grep { $_ } map { $options->{$_}{'description'} } sort keys %$options;

    local ($,, $\);
    print STDERR "Usage: $0 <options>\n\nPossible options are:\n\n",
      (map { "  $_\n" } @words), "\n", $self->Version(), "\n";
    exit 1;
}

# The templates for Getopt::Long. Abbreviations that are unique without our new options stay so.
my $templates = sub {
    my $options = shift;
    my (@templates, %names, @new);
    for my $key (sort keys %$options) {
        my $template = $options->{$key}{'template'} // next;
        my ($words) = $template =~ /\A([\w?|-]*)/;
        if ($is_new{$key} && grep { $_->[0] eq $template } @options) {
            push @new, $words;
        }
        else {
            $names{$_} = $template for split /\|/, $words;
        }
        push @templates, $template;
    }
    my %more;
    for my $name (keys %names) {
        for my $short (map { substr $name, 0, $_ } 1 .. length($name) - 1) {
            my %meant = map { $names{$_} => 1 } grep { /\A\Q$short/i } keys %names;
            next if keys %meant > 1 || $names{$short} || !grep { /\A\Q$short/i } @new;
            $more{ $names{$name} }{$short} = 1;
        }
    }
    for my $template (@templates) {
        my $short = join '|', '', sort keys %{ $more{$template} || {} };
        $template =~ s/\A([\w?|-]+)/$1$short/ if length $short > 1;
    }
    return @templates;
};

# ----------------------------------------------------------------------------------- the object

sub new ($$;$) {
    my ($class, $attr, $args) = @_;
    my $self = bless $attr || {}, ref $class || $class;

    my $options = $self->{'options'} ||= {};
    $self->{'args'} ||= [];
    if ($args) {
        local @ARGV = @$args;
        if (!Getopt::Long::GetOptions($options, $templates->($class->Options()))) {
            $self->Usage();
            exit 1;
        }
        $self->{'args'} = [@ARGV];
        if ($options->{'help'}) {
            $self->Usage();
            exit 1;
        }
        if ($options->{'version'}) {
            local ($,, $\);
            print STDERR $self->Version(), "\n";
            exit 1;
        }
    }

    my $file = $options->{'configfile'} // $self->{'configfile'};
    $self->ReadConfigFile($file, $options, $args) if $file;
    $self->{$_} = $options->{$_} for keys %$options;

    if ($self->{'childs'}) {
        $self->{'mode'} = 'single';
    }
    elsif (!defined $self->{'mode'}) {
        $self->{'mode'} =
            defined &threads::new || defined &threads::create ? 'ithreads'
          : $Config{'d_fork'}                                 ? 'fork'
          :                                                     'single';
    }
    $self->{'mode'} = 'ithreads' if $self->{'mode'} eq 'threads';
    if ($self->{'mode'} !~ /\A(?:ithreads|fork|single)\z/) {
        $self->Fatal('Unknown operation mode: ' . $literal->($self->{'mode'}));
    }
    if ($self->{'mode'} eq 'ithreads' && !defined &threads::create) {
        $self->Fatal('Operation mode ithreads needs a Perl with threads');
    }
    $self->{'catchint'} = 1 unless exists $self->{'catchint'};

    $self->Debug("Server starting in operation mode $self->{'mode'}");
    $self->Debug('Preforking ' . $literal->($self->{'childs'}) . ' child processes ...')
      if $self->{'childs'};
    return $self;
}

# A config file is Perl code, and what it returns are attributes.
sub ReadConfigFile {
    my ($self, $file, $options, $args) = @_;
    my $path = File::Spec->rel2abs($file);

    my $wrong = 'Error while processing config file ' . $literal->($file) . ': ';
    $self->Fatal('No such config file: ' . $literal->($file)) unless -e $path;
    open(my $readable, '<', $path) or $self->Fatal($wrong . $literal->($!));
    my @status = stat $readable;
    my $is_directory = -d _;
    close $readable;
    $self->Fatal($wrong . 'Is a directory') if $is_directory;
    if (${^TAINT}) {    # it is code, and whoever may write it may do anything
        $self->Fatal($wrong . 'others than its owner and root may write it')
          if $status[2] & 022 || ($status[4] != 0 && $status[4] != $<);
        ($path) = $path =~ /\A(.*)\z/s;
    }

    local ($@, $!);
    my $config = do $path;
    $self->Fatal($wrong . $literal->($@)) if $@;
    $self->Fatal('Config file ' . $literal->($file) . ' did not return a hash ref.')
      unless ref $config eq 'HASH';
    @$self{ keys %$config } = values %$config;
}

package Net::Daemon::Serving::Thread;

# Goes when its thread goes, however that ends.
sub DESTROY { Net::Daemon::Core::serving_ended() }

1;
