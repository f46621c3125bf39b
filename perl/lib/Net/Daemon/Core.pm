package Net::Daemon::Core;

# The C core as Perl sees it: functions that ask it one thing each (Core.xs), and the handle of what
# a running Bind holds outside of Perl. Nothing here calls a method of the daemon.

use strict;
use warnings;

our $VERSION = '1.00';

require XSLoader;
XSLoader::load('Net::Daemon::Core', $VERSION);

# What wait() comes back with: enum step_event of step.h, in its order.
use constant {
    AGAIN  => 0,    # no news: look at everything again
    INTR   => 1,    # a signal
    ACCEPT => 2,    # a connection waits
    TIMER  => 3,    # it is time for Loop
};

# Where the syslog daemon listens.
our $SyslogPath = '/dev/log';

# The levels of syslog(3), with the other names some of them have.
my %level_number = (
    emerg  => 0, panic   => 0, alert => 1, crit => 2, err => 3, error => 3, warning => 4, warn => 4,
    notice => 5, info    => 6, debug => 7,
);

# The names of Sys::Syslog are taken too: LOG_DAEMON, LOG_ERR.
sub to_syslog {
    my ($ident, $facility, $level, $message) = @_;
    s/^log_// for $facility = lc($facility || 'daemon'), $level = lc $level;
    syslog($SyslogPath, $ident, $facility, $level_number{$level} // 3, $message);
}

my ($scalar, @array);    # examples of what threads::shared shares

# Keep threads that begin and end from freeing the shared variables that there are (see Core.xs).
sub keep_shared {
    return if !$INC{'threads/shared.pm'} || $INC{'forks.pm'};
    &threads::shared::share($_) for \$scalar, \@array;
    hold_shared(\$scalar, \@array);
}

# A format and its arguments become a message, once, whatever they hold: a %n in words of a client
# must not kill the server.
sub message {
    my ($format, @args) = @_;
    no warnings;
    my $message = do { local ($@, $SIG{__DIE__}); eval { sprintf $format, @args } };
    $message = join ' ', @_ unless defined $message;    # %n would have changed @args
    $message =~ s/[\r\n]+\z//;
    return $message;
}

# Words as a format that makes these very words. So a method that logs may be replaced by one that
# knows no formats: ours are always ready text.
sub literal { return join('', @_) =~ s/%/%%/gr }

# What the C core died of, as the end of a ready message; without the name it begins with, if that is
# one of these.
sub reason {
    my ($words, @names) = @_;
    $words =~ s/\n\z//;
    $words =~ s/\A\Q$_\E: // for @names;
    return literal($words);
}

# Does this handle turn characters into bytes? undef: it is no handle but some object.
sub encodes {
    my @layers = PerlIO::get_layers($_[0], output => 1) or return undef;
    return scalar grep { $_ eq 'utf8' } @layers;
}

# What print makes of characters, without its complaints.
sub bytes_of {
    my $text = shift;
    utf8::downgrade($text, 1) or utf8::encode($text);
    return $text;
}

# What this returns, or nothing: then $@ says why, and no handler of the program has heard of it.
sub quietly {
    my $code = shift;
    local $SIG{__DIE__};
    return eval { $code->() };
}

# A message that is safe in one line. Without control characters (a tab is none here) it stays as it
# is; with them it is escaped, backslashes as well. Bytes are taken for UTF-8 if they can be that, else
# for Latin-1; where $characters is true they will be encoded, so each is a character already.
sub one_line {
    my ($text, $characters) = @_;
    return $text if $text !~ /[^\t\x20-\x7e]/;

    $characters = 1 if utf8::is_utf8($text);
    my $decoded = $text;
    utf8::decode($decoded) unless $characters;
    return $text if $decoded !~ /[\x00-\x08\x0a-\x1f\x7f-\x9f]/;

    utf8::upgrade($text) if $characters;
    $text = escape($text);
    utf8::decode($text) if $characters;
    return $text;
}

1;
