# Logging: where lines go, and what they look like.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);
use FindBin;
use IO::Socket::UNIX;
use Socket;
use lib "$FindBin::Bin/lib";
use ServerProcess qw(run_perl wait_for modes);
use Net::Daemon;

my $dir = tempdir(CLEANUP => 1);
my $stamp = qr/\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}/;

{
    package Collects;
    sub new { bless { lines => [] }, shift }
    sub print { my $self = shift; push @{ $self->{lines} }, [@_]; return 1 }
    package Sub;
    our @ISA = 'Net::Daemon';
    sub LogTime { 'THEN' }
}

sub contents {
    open my $fh, '<', $_[0] or return '';
    local $/;
    return scalar <$fh>;
}

# ------------------------------------------------------------------------------ an object
my $to = Collects->new;
my $daemon = bless { logfile => $to, mode => 'single' }, 'Sub';
ok($daemon->Log('notice', 'n %d of %s', 1, 'x'), 'Log returns true');
is_deeply($to->{lines}, [["THEN notice, n 1 of x\n"]], 'one string, by print');
@{ $to->{lines} } = ();
$daemon->Debug('not seen');
$daemon->{debug} = 1;
$daemon->Debug('seen %s', 'now');
$daemon->Error('bad %%');
eval { $daemon->Fatal('worse: %s', '%s') };
my $line = __LINE__ - 1;
is($@, "worse: %s at $0 line $line.\n", 'Fatal dies');
is_deeply([map { @$_ } @{ $to->{lines} }],
    ["THEN debug, seen now\n", "THEN err, bad %\n", "THEN err, worse: %s\n"], 'levels');
@{ $to->{lines} } = ();
$daemon->Log('notice', "100 % n %n \%v", 'more');
$daemon->Log('notice', "ends with a newline\n");
$daemon->Log('notice', 'wide %s', "\x{20ac}");
$daemon->Log('notice', "bytes \xe9\x00\e\\");
is_deeply([map { @$_ } @{ $to->{lines} }[1 .. 3]],
    ["THEN notice, ends with a newline\n", "THEN notice, wide \x{20ac}\n", "THEN notice, bytes \\xe9\\x00\\x1b\\\\\n"],
    'what is escaped');
like($to->{lines}[0][0], qr/^THEN notice, 100 % n %n .*more$/, 'a bad format is taken as text');
{
    no warnings 'redefine';
    my @seen;
    local *Net::Daemon::Log::Log = sub { shift; push @seen, [@_]; 1 };
    $daemon->Error('x %s', 1);
    is_deeply(\@seen, [['err', 'x %s', 1]], 'Log may be replaced');
}

# ------------------------------------------------------------------------------ one line
# What is logged, and what comes out: a message without control characters as it is; with them all of
# it is escaped, so that nothing can pose as another line, or as an escape.
for my $case (
    ["tab\tbed",                   "tab\tbed",                           'a tab'],
    ['C:\\new \\x1b',              'C:\\new \\x1b',                      'backslashes'],
    ["Latin-1 \xa0\xe9\xff",       "Latin-1 \xa0\xe9\xff",               'Latin-1'],
    ["UTF-8 \xe2\x82\xac \xc4\x9f", "UTF-8 \xe2\x82\xac \xc4\x9f",       'UTF-8 in bytes, such as have a byte 0x80 to 0x9f'],
    ["wide \x{263a} \xe9",         "wide \x{263a} \xe9",                 'characters'],
    ["a\nb\\n",                    'a\nb\\\\n',                          'a newline'],
    ["a\rb\tc",                    'a\x0db\tc',                          'a carriage return'],
    ["\e[2J",                      '\x1b[2J',                            'ESC'],
    ["del \x7f",                   'del \x7f',                           'DEL'],
    ["C1 \x85 \xe9",               'C1 \x85 \xe9',                       'C1 in Latin-1'],
    ["C1 \xc2\x9b \xc3\xa9",       "C1 \\xc2\\x9b \xc3\xa9",             'C1 in UTF-8'],
    ["cut \xe2\x82",               'cut \xe2\x82',                       'UTF-8 that is none, and a byte of C1'],
    ["overlong \xe0\x80\x8a",      'overlong \xe0\x80\x8a',              'a newline that takes too many bytes'],
    ["wide \x{263a} \x9b",         "wide \x{263a} \\xc2\\x9b",           'C1 among characters'],
    ["\x{263a} \xe4\xbd\x85",      "\x{263a} \xe4\xbd\\xc2\\x85",        'characters that look like UTF-8'],
) {
    my ($message, $line, $what) = @$case;
    @{ $to->{lines} } = ();
    $daemon->Log('notice', '%s', $message);
    is($to->{lines}[0][0], "THEN notice, $line\n", "one line: $what");
}

# ------------------------------------------------------------------------------ handles with layers
for my $case (
    ['',                 "caf\xe9",                 "caf\xe9",                             'bytes'],
    ['',                 "\x{263a} caf\xe9",        "\xe2\x98\xba caf\xc3\xa9",            'characters'],
    ['',                 substr("\x{263a}caf\xe9", 1), "caf\xe9",                          'Latin-1 characters'],
    [':utf8',            "\x{263a} caf\xe9",        "\xe2\x98\xba caf\xc3\xa9",            'characters'],
    [':encoding(UTF-8)', "\x{263a} caf\xe9",        "\xe2\x98\xba caf\xc3\xa9",            'characters'],
    [':utf8',            "caf\xe9",                 "caf\xc3\xa9",                         'bytes, each a character'],
    [':utf8',            "x \xe4\xbd\x85",          "x \xc3\xa4\xc2\xbd\\xc2\\x85",        'a byte that the layer would make C1 of'],
) {
    my ($layer, $message, $bytes, $what) = @$case;
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    open my $fh, ">$layer", "$dir/layer" or die;
    (bless { logfile => $fh }, 'Sub')->Log('notice', '%s', $message);
    close $fh;
    is(contents("$dir/layer"), "THEN notice, $bytes\n", "a handle with '$layer': $what, encoded once");
    is("@warnings", '', 'no warning');
}
for my $switch ('-CS', '-CSD', '-Mopen=:std,:encoding(UTF-8)') {
    my ($status, $out) = run_perl(<<'CODE', [$switch]);
use Net::Daemon;
Net::Daemon->new({ logfile => 'STDERR', mode => 'single' })->Log('notice', 'smile %s', "\x{263a}");
CODE
    like($out, qr/ notice, smile \xe2\x98\xba\n\z/, "logfile STDERR, $switch");
}

# ------------------------------------------------------------------------------ the program's variables
for my $logfile ('1', '"$dir/kept"', '$object', 'undef') {
    my ($status, $out) = run_perl(<<"CODE", $dir);
use Net::Daemon;
my \$dir = shift;
{ package Object; sub print { my \$self = shift; print STDERR \@_; 1 } }
my \$object = bless {}, 'Object';
open STDERR, '>', "\$dir/stderr";
my \$daemon = bless { logfile => $logfile, debug => 1, mode => 'single' }, 'Net::Daemon';
(\$,, \$\\, \$", \$/, \$;) = qw(comma end list line subscript);
for ('it') {
    for my \$method (qw(Debug Error Log Fatal)) {
        \$! = 2; \$? = 3; eval { die "kept\\n" };
        my \@args = (\$method eq 'Log' ? 'notice' : (), '%s %d %n', "\\e[%s", 5);
        if (\$method eq 'Fatal') { eval { \$daemon->Fatal(\@args) } } else { \$daemon->\$method(\@args) }
        my \@left = (\$_, \$!+0, \$?, \$method eq 'Fatal' ? () : "\$@", \$,, \$\\, \$", \$/, \$;);
        local (\$,, \$\\, \$") = ('', '', '|');
        print "\@left|";
    }
}
CODE
    my @left = ('it', 2, 3, "kept\n", qw(comma end list line subscript));
    is($out, join('', map { "$_|" } (@left) x 3, @left[0 .. 2, 4 .. 8]),
        "logfile $logfile: no variable of the program is changed");
    unlike(contents("$dir/stderr") . contents("$dir/kept"), qr/comma|end/, 'nor has it any part in the lines');
}

# ------------------------------------------------------------------------------ classes
{
    my ($status, $out) = run_perl('use Net::Daemon; Net::Daemon->Debug("one"); Net::Daemon->Error("two %s", 2);
        Net::Daemon->Log("notice", "three"); Net::Daemon->OpenLog; eval { Net::Daemon->Fatal("four") }; print $@');
    like($out, qr/^$stamp debug, one\n$stamp err, two 2\n$stamp notice, three\n$stamp err, four\nfour at .*\.\n\z/,
        'messages of a class go to STDERR, Debug as well');
}

# ------------------------------------------------------------------------------ methods of the program
# They may take their message as it is, without sprintf: percent signs are then two.
my $plain = <<'END';
for my $name (qw(Log Debug Error)) {
    my $own = sub { my ($self, @words) = @_; local $\; print STDERR "$name: ", map({ "($_)" } @words), "\n"; return 1 };
    no strict 'refs';
    *$name = $own;
}
sub Run { die "gone 100%n\n" }
END
for (modes()) {
    my ($mode, @args) = @$_;
    my $server = ServerProcess->start(args => [@args, '--debug'], body => $plain, ready => qr/\(Server starting\)/,
        attr => 'clients => [{ mask => "(", accept => 1 }, { accept => 1 }]');
    $server->ask("x\n");
    ok($server->logs(qr/^Error: \(Child died: gone 100%%n\n\)$/m), "$mode: an own Error gets ready text");
    $server->stop;
    my $log = $server->log;
    like($log, qr/^Debug: \(New child starting \(Served=HASH\(0x\w+\)\)\.\)$/m, 'and so does an own Debug');
    like($log, qr/^Debug: \($_\)$/m, 'of all of us') for 'Connection from 127\.0\.0\.1, port \d+',
      'Accepting client from 127\.0\.0\.1, port \d+', 'Server starting in operation mode \w+';
    like($log, qr/^Error: \(A rule in clients cannot be understood: mask: Unmatched/m, 'rules');
    like($log, qr/^Log: \(notice\)\(Served server terminating\)$/m, 'and an own Log') if $mode ne 'childs';
    like($log, qr/^Debug: \(kill TERM childs: \d+,\d+\)$/m, 'workers') if $mode eq 'childs';
    unlike($log, qr/%[sd]/, 'no format reaches them');
}
for my $case (
    ['--pidfile=/no/such/%s',        'Cannot write to /no/such/%%s: No such file or directory'],
    ['--localpath=/no/such/%n',      qr/Cannot create Unix socket \/no\/such\/%%n: No such file or directory.*/],
    ['--localaddr=[%d',              qr/Cannot create socket: .*%%d.*/],
    ['--localaddr=192.0.2.1',        qr/Cannot create socket: tcp:192\.0\.2\.1:\d+: Cannot assign requested address.*/],
    ['--configfile=/no/such/%s',     'No such config file: /no/such/%%s'],
    ['--mode=%s',                    'Unknown operation mode: %%s'],
    ['--user=%s',                    qr/Cannot determine uid of %%s: .*/],
    ['--group=%s',                   qr/Cannot determine gid of %%s: .*/],
    ['--proto=unix',                 'Missing option: localpath'],
) {
    my ($option, $expected) = @$case;
    my ($status, $out) = run_perl(<<'CODE', $option);
package Served;
use Net::Daemon;
our @ISA = 'Net::Daemon';
sub Log { my ($self, @words) = @_; print STDERR "Log: ", map({ "($_)" } @words), "\n"; return 1 }
$SIG{__DIE__} = sub { print STDERR "DIE: $_[0]" };
Served->new({ mode => 'single', pidfile => 'none' }, \@ARGV)->Bind;
CODE
    like($out, qr/^Log: \(err\)\($expected\)$/m, "Fatal passes it on: $option");
    my @died = $out =~ /^DIE: (.*)$/mg;
    is(scalar(@died), 1, 'a handler for __DIE__ hears of it once');
    unlike($died[0] // '', qr/%%/, 'in its own words');
}

# ------------------------------------------------------------------------------ files
my $file = "$dir/log";
my $logger = bless { logfile => $file }, 'Sub';
$logger->Log('notice', 'first');
is(contents($file), "THEN notice, first\n", 'a file is written to at once');
ok(ref $logger->{logfile}, 'the attribute becomes a handle');
isa_ok($logger->{logfile}, 'IO::File');
(bless { logfile => $file }, 'Sub')->Log('info', 'second');
is(contents($file), "THEN notice, first\nTHEN info, second\n", 'and appended to');
my $cannot = bless { logfile => '/no/such/dir/log' }, 'Sub';
ok(!eval { $cannot->Log('notice', 'x'); 1 }, 'one that cannot be opened dies');
like($@, qr/\/no\/such\/dir\/log/, 'with its name');
open my $own, '>', "$dir/own";
$own->autoflush(1);
(bless { logfile => $own }, 'Net::Daemon')->Log('notice', 'mine');
like(contents("$dir/own"), qr/^$stamp notice, mine\n\z/, 'a handle of the program; the form of a line');

for my $name (1, 'STDERR', 'stderr') {
    my ($status, $out) = run_perl("use Net::Daemon; my \$d = bless { logfile => '$name' }, 'Net::Daemon';
        \$d->OpenLog; \$d->Log('notice', 'to stderr'); close STDERR; print ref \$d->{logfile} ? 'changed' : 'same'");
    like($out, qr/^$stamp notice, to stderr\nsame\z/, "logfile $name");
}

# ------------------------------------------------------------------------------ syslog
my $path = "$dir/syslog";
my $syslogd = IO::Socket::UNIX->new(Local => $path, Type => SOCK_DGRAM) or die "$path: $@";
$Net::Daemon::Core::SyslogPath = $path;
sub record {
    my $record;
    eval {
        local $SIG{ALRM} = sub { die "late\n" };
        alarm 5;
        $syslogd->recv($record, 10000);
        alarm 0;
    };
    return $record;
}
my $month = qr/\w{3} [ \d]\d \d\d:\d\d:\d\d/;
(bless {}, 'Net::Daemon')->Log('notice', 'by the %s', 'object');
like(record(), qr/^<29>$month Net::Daemon\[$$\]: by the object\z/, 'ident, facility daemon');
(bless {}, 'Sub')->Error('oops');
like(record(), qr/^<27>$month Sub\[$$\]: oops\z/, 'Error of a subclass');
(bless { logname => 'my-name', facility => 'mail' }, 'Sub')->Log('debug', "a\nb");
like(record(), qr/^<23>$month my-name\[$$\]: a\\nb\z/, 'logname, facility; escaped');
(bless { facility => 'LOG_LOCAL3' }, 'Sub')->Log('warning', 'x');
like(record(), qr/^<156>/, 'names as Sys::Syslog has them');
ok(!eval { (bless { facility => 'nonsense' }, 'Sub')->Log('notice', 'x'); 1 }, 'a facility that is none dies');
like($@, qr/unknown syslog facility 'nonsense'/, 'with words');
my $pid = fork // die;
if (!$pid) {
    (bless {}, 'Sub')->Log('notice', 'from a child');
    require POSIX;
    POSIX::_exit(0);
}
waitpid $pid, 0;
like(record(), qr/Sub\[$pid\]: from a child/, 'a child says its own number');
done_testing();
