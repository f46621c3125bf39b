# new: attributes, options, modes; what it prints and how it ends.
use strict;
use warnings;
use Test::More;
use Config;
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/lib";
use ServerProcess qw(run_perl);
use Net::Daemon;

{
    package Sub;
    our @ISA = 'Net::Daemon';
    our $VERSION = '3.1';
    sub Version { 'Sub 3.1, a test' }
    sub Options {
        my $options = $_[0]->SUPER::Options();
        $options->{base}   = { template => 'base=s', description => '--base x' };
        $options->{zdrive} = { template => 'zdrive|zd=s@' };
        $options->{'zmix+'} = { template => 'zmix+' };
        return $options;
    }
    sub log_of { my $text = ''; open my $fh, '>', \$text; return ($fh, \$text) }
}

sub fresh { return Sub->new({ mode => 'single', logfile => 'STDERR', @{ $_[0] || [] } }, $_[1]) }

# ------------------------------------------------------------------------------ the object
my $attr = { mode => 'single', localport => 1, own => 'mine' };
my @args = ('--localport=2', 'left', '--', '--debug');
my $object = Sub->new($attr, \@args);
is($object, $attr, 'the attributes themselves become the object');
isa_ok($object, 'Sub');
is($object->{localport}, 2, 'the command line overrules attributes');
is($object->{own}, 'mine', 'other attributes stay');
is_deeply($object->{args}, ['left', '--debug'], 'args holds what is left');
is_deeply(\@args, ['--localport=2', 'left', '--', '--debug'], 'the caller keeps his list');
is_deeply($object->{options}, { localport => 2 }, 'options holds what was given');
is($object->{catchint}, 1, 'catchint is on');
ok(!fresh([catchint => 0])->{catchint}, 'unless the attribute is there');
is(fresh([], ['--nocatchint'])->{catchint}, 0, 'or the option');
isa_ok(Sub->new(undef, ['--mode=single']), 'Sub', 'without attributes');
is(Sub->new({ mode => 'single', options => { localport => 9 }, localport => 1 })->{localport}, 9,
    'options may be given as an attribute');

# ------------------------------------------------------------------------------ options
is_deeply(fresh([], [qw(--base hex --zd 1 --zdrive=2 --zmix --zmix)])->{options},
    { base => 'hex', zdrive => [1, 2], zmix => 2 }, 'templates of a subclass may be anything');
is(fresh([], [qw(-localport 7)])->{localport}, 7, 'one hyphen');
is(fresh([], [qw(--LOCALPORT 7)])->{localport}, 7, 'capitals');
my %short = (d => 'debug', m => 'mode', b => 'base', u => 'user', f => 'facility', g => 'group',
    pi => 'pidfile');
my %value = (debug => undef, mode => 'fork', base => 'oct', user => 'u', facility => 'mail',
    group => 'g', pidfile => 'none');
for my $short (sort keys %short) {
    my $name = $short{$short};
    my $made = fresh([], ["--$short", defined $value{$name} ? $value{$name} : ()]);
    is($made->{$name}, $value{$name} // 1, "--$short is --$name, as it was");
}
is(fresh([], ['--max-connections=5'])->{'max-connections'}, 5, '--max-connections');
is(fresh([], ['--max-c=6'])->{'max-connections'}, 6, 'and short');
is_deeply(fresh([], ['--bind=tcp:*:1', '--bind', 'unix:/x'])->{bind}, ['tcp:*:1', 'unix:/x'], '--bind, twice');
{
    Getopt::Long::Configure('no_ignore_case', 'pass_through');
    is_deeply(fresh([], ['--Localport=7'])->{args}, ['--Localport=7'], "the program's Configure applies");
    Getopt::Long::Configure('default');
}
isnt(Net::Daemon->Options, Net::Daemon->Options, 'Options gives a hash of its own each time');
for my $name (qw(catchint childs chroot configfile debug facility group help listen localaddr localpath
    localport logfile loop-child loop-timeout mode pidfile proto user version))
{
    my $option = Net::Daemon->Options->{$name};
    ok($option && $option->{template} && $option->{description}, "option $name");
}

{
    package Asked;
    our @ISA = 'Net::Daemon';
    our $asked;
    sub Options { $asked = shift; return {} }
    package main;
    Asked->new({ mode => 'single' }, []);
    is($Asked::asked, 'Asked', 'new asks the class for its options');
}

# ------------------------------------------------------------------------------ what it prints
my $program = <<'END';
use Net::Daemon;
package Sub; our @ISA = 'Net::Daemon';
sub Version { 'Sub 3.1' }
sub Options { my $o = $_[0]->SUPER::Options(); $o->{zz} = { template => 'zz', description => "--zz words" }; $o }
package main;
Sub->new({ mode => 'single', logfile => 'STDERR' }, \@ARGV);
print "new returned\n";
END
for my $case (['--help'], ['--no-such-option'], ['--localport']) {
    my ($status, $out) = run_perl($program, @$case);
    is($status >> 8, 1, "@$case: exit status 1");
    like($out, qr/Usage: \S+program\.pl <options>\n\nPossible options are:\n\n.*  --debug .*  --zz words\n\nSub 3\.1\n\z/s,
        "@$case: usage");
    unlike($out, qr/new returned/, "@$case: that is all");
}
for my $case ('Usage()', 'Usage(); BEGIN { @ARGV = "--help" } sub Usage { print "mine\n" }',
    'Usage(); BEGIN { @ARGV = "--what" } sub Usage { print "mine\n" }') {
    my ($status, $out) = run_perl("package Sub; use Net::Daemon; our \@ISA = 'Net::Daemon'; \$, = 'x'; \$\\ = 'y';
        my \$self = Sub->new({ mode => 'single' }, \\\@ARGV); \$self->$case; print 'went on'");
    is($status >> 8, 1, "Usage of its own, or called by a program: exit status 1: $case");
    unlike($out, qr/went on/, 'and that is all');
    like($out, qr/\A(?:Unknown option: what\n)?(?:mine\ny|Usage: .*  --debug .*\n\nNet::Daemon [^\n]+\n\z)/s, 'after the usage');
}
my ($status, $out) = run_perl($program, '--version');
is($status >> 8, 1, '--version: exit status 1');
is($out, "Sub 3.1\n", '--version: the version');

# ------------------------------------------------------------------------------ modes
for my $mode (qw(single fork)) {
    is(fresh([], ["--mode=$mode"])->{mode}, $mode, "mode $mode");
}
my $threads = $Config{useithreads};
is(Sub->new({})->{mode}, $threads ? 'ithreads' : 'fork', 'the mode without one');
SKIP: {
    skip 'no threads', 2 unless $threads;
    is(fresh([mode => 'ithreads'])->{mode}, 'ithreads', 'mode ithreads');
    is(fresh([mode => 'threads'])->{mode}, 'ithreads', 'mode threads is the same');
}
($status, $out) = run_perl($program, '--mode=bogus');
like($out, qr/err, Unknown operation mode: bogus$/m, 'another is logged');
like($out, qr/^Unknown operation mode: bogus at .* line \d+\.$/m, 'and dies');
is(fresh([mode => 'fork'], ['--childs=3'])->{mode}, 'single', 'childs sets mode single');
my ($fh, $text) = Sub::log_of();
Sub->new({ logfile => $fh, debug => 1, childs => 2 });
like($$text, qr/debug, Server starting in operation mode single\n.*debug, Preforking 2 child processes \.\.\.\n/,
    'what it logs');

# ------------------------------------------------------------------------------ the config file
my $dir = tempdir(CLEANUP => 1);
sub config {
    open my $out, '>', "$dir/config" or die $!;
    print $out $_[0];
    close $out;
    return "$dir/config";
}
my $made = fresh([facility => 'mail', localport => 1, listen => 3],
    ['--localport=3', '--configfile=' . config('my $x = 40; +{ localport => 2, listen => $x + 2, a => [1] }')]);
is($made->{facility}, 'mail', 'attributes');
is($made->{listen}, 42, 'are overruled by the config file, which is Perl');
is($made->{localport}, 3, 'and that by the command line');
is_deeply($made->{a}, [1], 'it may set anything');
is(fresh([configfile => config('{ a => 5 }')])->{a}, 5, 'it may be an attribute');
is(fresh([configfile => config('$main::package = __PACKAGE__; { a => $0 }')])->{a}, $0, 'it knows the program');
{
    my $here = do { require Cwd; Cwd::getcwd() };
    chdir $dir;
    is(fresh([configfile => 'config'])->{a}, $0, 'relative to the current directory');
    chdir $here;
}
for my $case (
    ['syntax', '{ a => ', qr/^Error while processing config file $dir\/config: .*(?:Missing right curly|syntax error)/],
    ['dies', 'die "no way\n"', qr/^Error while processing config file $dir\/config: no way/],
    ['list', '[1]', qr/^Config file $dir\/config did not return a hash ref\./],
    ['blessed', 'bless {}, "X"', qr/^Config file $dir\/config did not return a hash ref\./],
    ['number', '1;', qr/^Config file $dir\/config did not return a hash ref\./],
  )
{
    my ($name, $code, $expected) = @$case;
    my ($log) = Sub::log_of();
    eval { fresh([logfile => $log, configfile => config($code)]) };
    like($@, $expected, "config: $name");
}
my ($log) = Sub::log_of();
eval { fresh([logfile => $log, configfile => '/no/such/file']) };
like($@, qr/^No such config file: \/no\/such\/file at /, 'config: not there');
{
    package Reads;
    our @ISA = 'Sub';
    our @given;
    sub ReadConfigFile { my $self = shift; @given = @_; $self->{read} = 1 }
    package main;
    my $args = ['--configfile=x', '--debug'];
    ok(Reads->new({ mode => 'single', logfile => $log }, $args)->{read}, 'ReadConfigFile can be overridden');
    is_deeply(\@Reads::given, ['x', { configfile => 'x', debug => 1 }, $args], 'and is given all it needs');
}

# The object of a connection has copies of all values, whatever they are.
{
    my %values = (
        text => 'short', long => 'x' x 1000, empty => '', undefined => undef, number => 7, float => 0.5,
        both => do { require Scalar::Util; Scalar::Util::dualvar(5, 'five') }, version => v1.22.333,
        list => [1], code => sub { 1 }, object => bless({}, 'Sub'), pattern => qr/x/, glob => *STDERR,
        wide => "\x{263a}", latin => "\xe9", "\x{263a}" => 'wide key', "\xe9" => 'latin key', '' => 'no key',
    );
    my $daemon = fresh([%values]);
    $daemon->{gone} = 1;
    delete $daemon->{gone};
    while (my ($key) = each %$daemon) { last if $key eq 'text' }    # in the middle of it
    my $clone = $daemon->Clone('its socket');
    is_deeply([sort keys %$clone], [sort keys %$daemon, 'parent', 'socket'], 'Clone: the same keys, and its own');
    is_deeply({ map { $_ => $clone->{$_} } keys %values }, \%values, 'and the same values');
    is($clone->{$_}, $values{$_}, "the very same $_") for qw(list code object);
    is(ref \$clone->{glob}, 'GLOB', 'a glob stays one');
    is(ref \$clone->{version}, 'VSTRING', 'a version stays one');
    is($clone->{both} + 0, 5, 'a number with words stays one');
    ok(utf8::is_utf8($clone->{wide}) && !utf8::is_utf8($clone->{latin}), 'texts are of the same kind');
    $clone->{text} .= 'er';
    $clone->{number}++;
    is("$daemon->{text} $daemon->{number}", 'short 7', 'what is done to them is not done to the server');

    package Tied;
    require Tie::Hash;
    our @ISA = 'Tie::StdHash';
    package main;
    tie my %tied, 'Tied';
    %tied = (a => 1, b => 2);
    my $of_tied = (bless \%tied, 'Sub')->Clone('socket');
    is_deeply([@$of_tied{qw(a b socket)}], [1, 2, 'socket'], 'of a tied hash, too');
    ok(!tied %$of_tied, 'and that is not tied');
}
done_testing();
