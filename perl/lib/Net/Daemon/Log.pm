package Net::Daemon::Log;

use strict;
use warnings;

use IO::Handle ();
use Symbol     ();
use Net::Daemon::Core ();

our $VERSION = '1.00';

# Make the logfile ready: a name in the attribute becomes a handle there.
sub OpenLog ($) {
    my $self = shift;
    return 1 unless ref $self;
    my $logfile = $self->{'logfile'};
    return 1 if !$logfile || ref $logfile || $logfile =~ /^(?:1|stderr)$/i;

    my ($path) = $logfile =~ /\A(.*)\z/s;    # whoever starts the server names it: not tainted
    my $fh = Symbol::gensym();
    open($fh, '>>', $path) or die "Cannot open log file $path: $!";
    bless $fh, 'IO::File';
    $fh->autoflush(1);
    $self->{'logfile'} = $fh;
    return 1;
}

sub Log ($$$;@) {
    my ($self, $level, $format, @args) = @_;
    local ($!, $?, $,, $\);    # the program's are not for us, and stay as they are
    my $message = Net::Daemon::Core::message($format, @args);
    my $logfile = ref $self ? $self->{'logfile'} : 'STDERR';

    if (!$logfile) {
        my $ident = $self->{'logname'} || ref $self;
        Net::Daemon::Core::to_syslog($ident, $self->{'facility'}, $level, $message);
        return 1;
    }

    my $tid = '';
    if (ref $self && ($self->{'mode'} || '') eq 'ithreads' && defined &threads::tid) {
        $tid = threads->tid() . ', ';
    }
    if (!ref $logfile && $logfile !~ /^(?:1|stderr)$/i) {
        $self->OpenLog();
        $logfile = $self->{'logfile'};
    }
    my $encodes = Net::Daemon::Core::encodes(ref $logfile ? $logfile : \*STDERR);
    my $line = $self->LogTime() . " $level, $tid"
      . Net::Daemon::Core::one_line($message, $encodes) . "\n";
    $line = Net::Daemon::Core::bytes_of($line) if defined $encodes && !$encodes;
    if (ref $logfile) {
        $logfile->print($line);
    }
    else {
        STDERR->printflush($line);    # a thread would keep it for later
    }
    return 1;
}

# Most servers do not want this, so that is asked first of all. Of a class it is wanted.
sub Debug ($$;@) {
    return if ref $_[0] && !$_[0]{'debug'};
    my $self = shift;
    $self->Log('debug', @_);
}

sub Error ($$;@) {
    my ($self, $format, @args) = @_;
    $self->Log('err', $format, @args);
}

sub Fatal ($$;@) {
    my ($self, $format, @args) = @_;
    my $message = Net::Daemon::Core::message($format, @args);
    $self->Log('err', Net::Daemon::Core::literal($message));
    my (undef, $file, $line) = caller;
    die "$message at $file line $line.\n";
}

sub LogTime { scalar localtime }

1;
