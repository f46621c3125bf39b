# Who may: rules, masks, networks, names.
use strict;
use warnings;
use Test::More;
use File::Temp;
use FindBin;
use Socket;
use lib "$FindBin::Bin/lib";
use ServerProcess qw(wait_for modes);
use Net::Daemon;

{
    package Mock;
    sub new { my ($class, %is) = @_; bless {%is}, $class }
    sub peerhost { $_[0]{host} }
    sub peerport { $_[0]{port} }
    sub peeraddr { $_[0]{addr} }
    package Sub;
    our @ISA = 'Net::Daemon';
    our @log;
    sub Log { my ($self, $level, $format, @args) = @_; push @log, "$level: " . sprintf $format, @args }
}

sub at {
    my $host = shift;
    my $addr = $host =~ /:/ ? Socket::inet_pton(Socket::AF_INET6(), $host) : inet_aton($host);
    return Mock->new(host => $host, port => 4711, addr => $addr);
}

my $last;
sub accepts {
    my ($socket, $clients, %more) = @_;
    @Sub::log = ();
    $last = bless { proto => 'tcp', debug => 1, socket => $socket, clients => $clients, %more }, 'Sub';
    return $last->Accept ? 1 : 0;
}

# ------------------------------------------------------------------------------ rules
my $here = at('192.0.2.7');
is(accepts($here, undef), 1, 'no rules: open');
is_deeply(\@Sub::log, ['debug: Accepting client from 192.0.2.7, port 4711'], 'and so logged');
is(accepts($here, 0), 1, 'false: open');
is(accepts($here, []), 0, 'an empty list: nobody');
is_deeply(\@Sub::log, ['err: Access not permitted from 192.0.2.7, port 4711'], 'and so logged');
is(accepts($here, 'what'), 0, 'something else: nobody');
my $rule = { mask => '^192\.0\.2\.', accept => 1, users => ['bob'] };
is(accepts($here, [$rule]), 1, 'a mask');
is($last->{client}, $rule, 'the rule itself is the client');
is(accepts($here, [{ mask => '^10\.', accept => 1 }]), 0, 'another mask: denied by default');
is(accepts($here, [{ mask => '^192', accept => 0 }, { mask => '.*', accept => 1 }]), 0, 'the first that matches');
is(accepts($here, [{ mask => '^192', accept => 1 }, { mask => '.*', accept => 0 }]), 1, 'decides');
is(accepts($here, [{ mask => '^192' }]), 0, 'accept is false without words');
is(accepts($here, [{ accept => 1 }]), 1, 'no mask matches all');
is(accepts($here, [{ mask => $_, accept => 1 }]), 1, "mask '$_' too") for '', '0';
is(accepts($here, [{ mask => ['^10\.', '^192\.'], accept => 1 }]), 1, 'a list of masks');
is(accepts($here, [{ mask => [], accept => 1 }]), 0, 'an empty one matches nothing');
is(accepts($here, [{ mask => qr/^192\.0/, accept => 1 }]), 1, 'qr//');
is(accepts($here, [{ mask => '[', accept => 1 }]), 0, 'a broken mask never lets in');
like($Sub::log[0], qr/err: A rule in clients cannot be understood: mask: /, 'and is logged');
is(accepts($here, [{ mask => '[', accept => 0 }, { accept => 1 }]), 0, 'and denies');
is(accepts($here, [{ mask => ['[', '^192'], accept => 1 }]), 1, 'beside one that matches it does not count');
is(accepts(Mock->new, [{ accept => 1 }]), 0, 'a peer without an address meets no rule');
is(accepts(Mock->new, undef), 1, 'but anybody may where all may');
is(accepts(at('::ffff:192.0.2.7'), [{ mask => '^192\.0\.2\.7$', accept => 1 }]), 1, 'IPv4 in IPv6 is IPv4');
is(accepts(at('2001:db8::7'), [{ mask => '^2001:db8:', accept => 1 }]), 1, 'IPv6');

# ------------------------------------------------------------------------------ networks
is(accepts($here, [{ net => '192.0.2.0/24', accept => 1 }]), 1, 'net');
is(accepts($here, [{ net => '192.0.3.0/24', accept => 1 }]), 0, 'another');
is(accepts($here, [{ net => ['10.0.0.0/8', '192.0.2.7'], accept => 1 }]), 1, 'a list');
is(accepts($here, [{ net => '192.0.2.0/24', mask => '7$', accept => 1 }]), 1, 'net and mask');
is(accepts($here, [{ net => '192.0.2.0/24', mask => '8$', accept => 1 }]), 0, 'both must match');
is(accepts(at('::ffff:192.0.2.7'), [{ net => '192.0.2.0/24', accept => 1 }]), 1, 'IPv4 in IPv6');
is(accepts(at('2001:db8::7'), [{ net => '2001:db8::/32', accept => 1 }]), 1, 'IPv6');
for my $bad ('192.0.2', '192.0.2.1/24', '0300.0.2.0/24', '', 'name') {
    is(accepts($here, [{ net => $bad, accept => 1 }]), 0, "net '$bad' never lets in");
    like($Sub::log[0], qr/cannot be understood: net: /, 'and is logged');
    is(accepts($here, [{ net => $bad, accept => 0 }, { accept => 1 }]), 0, 'and denies');
}

# ------------------------------------------------------------------------------ names
{
    my ($asked, @names);
    no warnings 'redefine';
    local *Net::Daemon::Core::names = sub { $asked++; return @names };
    @names = ('friend.example');
    is(accepts($here, [{ mask => '^friend\.example$', accept => 1 }]), 1, 'a confirmed name');
    is(accepts($here, [{ mask => '^FRIEND\.example$', accept => 1 }]), 1, 'in capitals');
    $asked = 0;
    accepts($here, [{ mask => 'a\.example$' }, { mask => 'b\.example$' }, { mask => '.*', accept => 1 }]);
    is($asked, 1, 'is looked up once');
    $asked = 0;
    accepts($here, [{ mask => '^10\.1\.\d+' }, { mask => '^2001:db8:' }, { mask => '^192', accept => 1 }]);
    is($asked, 0, 'and not for masks about addresses');
    @names = ('192.0.2.evil.example');
    is(accepts(at('198.51.100.1'), [{ mask => '^192\.0\.2\.', accept => 1 }]), 0,
        'a name that looks like an address passes no mask about addresses');
    @names = ();
    is(accepts($here, [{ mask => '\.evil\.example$' }, { accept => 1 }]), 1, 'no name: rules by name do not match');
    is(accepts($here, [{ mask => '\.evil\.example$' }, { accept => 1 }], 'strict-names' => 1), 0,
        'with strict-names they do when they deny');
    is(accepts($here, [{ mask => '\.good\.example$', accept => 1 }], 'strict-names' => 1), 0, 'and only then');
}
is(accepts(at('127.0.0.1'), [{ mask => '^localhost$', accept => 1 }]), 1, 'the system\'s resolver');
{
    no warnings 'redefine';
    local *Net::Daemon::Core::names = sub { 'one.example' };
    open my $hosts, '>', my $file = File::Temp::tempdir(CLEANUP => 1) . '/hosts';
    print $hosts "# names\n192.0.2.7 one.example two three # four\n192.0.2.70\tfive\n::ffff:192.0.2.7 six\n";
    close $hosts;
    local $Net::Daemon::Access::Hosts = $file;
    is(accepts($here, [{ mask => "^$_\$", accept => 1 }]), 1, "alias $_") for 'two', 'three', 'six';
    is(accepts($here, [{ mask => "^$_\$", accept => 1 }]), 0, "no alias: $_") for 'four', 'five', '192';

    # what the program has set is not for us, and stays as it is
    open $hosts, '>', $Net::Daemon::Access::Hosts = "$file.plain";
    print $hosts "192.0.2.7 six\n192.0.2.70 five\n";
    close $hosts;
    open my $own, '<', $file or die;
    <$own>;
    <$own>;
    for my $ending (undef, \1, '', "\r\n", 'o') {
        local $/ = $ending;
        is(accepts($here, [{ mask => '^five$', accept => 1 }]), 0, "no alias: of another line, whatever \$/ is");
        is(accepts($here, [{ mask => '^six$', accept => 1 }]), 1, 'and those of ours are found');
        is($/, $ending, '$/ is as it was');
    }
    is($., 2, 'and so is $.');
}

# ------------------------------------------------------------------------------ the program's handlers
{
    my $heard = 0;
    local $SIG{__DIE__} = sub { $heard++ };
    local $@ = "mine\n";
    is(accepts(bless({}, 'Nothing'), [{ accept => 1 }]), 0, 'a socket without methods');
    is(accepts($here, [{ net => 'none' }, { mask => '(' }, { accept => 1 }]), 0, 'rules that cannot be understood');
    is($heard, 0, 'are nothing a handler for __DIE__ hears of');
    is($@, "mine\n", 'nor is $@ changed');
}

# ------------------------------------------------------------------------------ Unix sockets
my %unix = (proto => 'unix');
is(accepts(Mock->new, [{ mask => '^127\.0\.0\.1$', accept => 1 }], %unix), 1, 'a Unix socket is 127.0.0.1');
is(accepts(Mock->new, [{ mask => '^localhost$', accept => 1 }], %unix), 1, 'and localhost');
is(accepts(Mock->new, [{ mask => '^10\.', accept => 1 }], %unix), 0, 'and nothing else');
is_deeply(\@Sub::log, ['err: Access not permitted from Unix socket'], 'which is logged');
is(accepts(Mock->new, [{ net => '127.0.0.0/8', accept => 1 }], %unix), 0, 'but in no network');

# ------------------------------------------------------------------------------ in every mode
for (modes()) {
    my ($mode, @args) = @$_;
    my $server = ServerProcess->start(args => \@args,
        attr => "clients => [{ mask => '^127\\.0\\.0\\.1\$', accept => 1, word => 'key' }]",
        body => 'sub Run { my $s = $_[0]{socket}; $s->print("$_[0]{client}{word}\n") }');
    is($server->ask(''), "key\n", "$mode: keys of the rule reach Run");
    $server = ServerProcess->start(args => \@args, attr => "clients => [{ net => '10.0.0.0/8', accept => 1 }]");
    is($server->ask("x\n"), undef, "$mode: refused");
    ok($server->logs(qr/err, (?:\d+, )?Access not permitted from 127\.0\.0\.1, port \d+\n.*Refusing client/),
        "$mode: with words");
}
done_testing();
