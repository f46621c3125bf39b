# Programs as people write them: a calculator, an RPC-style line server, and real ones where they are
# installed: an LDAP server by Net::LDAP::Server, dbiproxy of DBI.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/lib";
use ServerProcess qw(wait_for free_port modes run_perl);

sub have { my $module = shift; return eval "require $module; 1" }

# ------------------------------------------------------------------------------ the calculator
my $calculator = <<'END';
sub Version { 'Calculator 1' }
sub Options {
    my $options = $_[0]->SUPER::Options();
    $options->{base} = { template => 'base=s', description => '--base <name>           dec, hex or oct' };
    return $options;
}
my %format = (dec => "%d\n", hex => "%x\n", oct => "%o\n");
sub new {
    my $self = shift->SUPER::new(@_);
    $self->{base} ||= 'dec';
    $self->Fatal('Unknown base: %s', $self->{base}) unless $format{ $self->{base} };
    return $self;
}
sub Run {
    my $self   = shift;
    my $socket = $self->{socket};
    while (defined(my $line = $socket->getline)) {
        $line =~ /^([-+*\/() \d]+)\s*$/ or die "not an expression: $line";
        my $result = eval $1;
        defined $result or die $@;
        $socket->printf($format{ $self->{base} }, $result) or return $self->Error('Client error: %s', $!);
    }
    $self->Error('Client error: %s', $socket->error) if $socket->error;
}
END
for (modes()) {
    my ($mode, @args) = @$_;
    my $server = ServerProcess->start(args => [@args, '--base=hex'], body => $calculator);
    my $socket = $server->connect;
    is($server->ask("6*7\n", $socket), "2a\n", "calculator, $mode");
    is($server->ask("(1+2)*100\n", $socket), "12c\n", "and again");
    is($server->ask("system\n", $socket), undef, 'what is none ends the connection');
    ok($server->logs(qr/err, (?:\d+, )?Child died: not an expression: system/), 'with words');
}
my $wrong = ServerProcess->start(args => ['--mode=single', '--base=two'], body => $calculator);
ok($wrong->logs(qr/err, Unknown base: two/), 'Fatal in new');

# ------------------------------------------------------------------------------ remote calls
# Objects of a connection live on its clone; access by user, by keys of the rule.
my $rpc = <<'END';
sub Accept {
    my $self = shift;
    return 0 unless $self->SUPER::Accept();
    my ($user) = ($self->{socket}->getline // '') =~ /^user (\w+)/ or return 0;
    $self->{user} = $user;
    my $known = grep { $_ eq $user } @{ $self->{client}{users} };
    $self->{socket}->print($known ? "welcome $user\n" : "go away\n");
    return $known;
}
sub Run {
    my $self = shift;
    my $s = $self->{socket};
    while (!$self->Done && defined(my $line = $s->getline)) {
        my ($method, @args) = split ' ', $line;
        $self->Debug("Client executes method $method");
        my @result = eval { $self->can("do_$method") ? $self->${\"do_$method"}(@args) : die "no method $method\n" };
        $s->print($@ ? "error $@" : "result @result\n");
    }
}
sub do_new   { my ($self, $start) = @_; push @{ $self->{objects} }, { n => $start }; return $#{ $self->{objects} } }
sub do_add   { my ($self, $object, $n) = @_; return $self->{objects}[$object]{n} += $n }
sub do_die   { die "as you said: %n %s\n" }
sub do_who   { return $_[0]{user} }
END
for (modes()) {
    my ($mode, @args) = @$_;
    my $server = ServerProcess->start(args => [@args, '--debug'], body => $rpc,
        attr => 'clients => [{ mask => "^127\\\\.0\\\\.0\\\\.1\$", accept => 1, users => [qw(bob ann)] }]');
    my ($bob, $eve) = map { $server->connect } 1 .. ($mode eq 'single' ? 1 : 2);
    is($server->ask("user bob\n", $bob), "welcome bob\n", "remote calls, $mode: a user");
    is($server->ask("new 40\n", $bob), "result 0\n", 'makes an object');
    is($server->ask("add 0 2\n", $bob), "result 42\n", 'and uses it');
    is($server->ask("die\n", $bob), "error as you said: %n %s\n", 'an error is an answer');
    is($server->ask("who\n", $bob), "result bob\n", 'and the connection goes on');
    is($server->ask("%n%n%s\n", $bob), "error no method %n%n%s\n", 'whatever a client says');
    close $bob;
    $eve ||= $server->connect;
    is($server->ask("user eve\n", $eve), "go away\n", 'another user is refused');
    ok($server->logs(qr/Refusing client/), 'and logged');
}

# ------------------------------------------------------------------------------ LDAP
SKIP: {
    skip 'Net::LDAP::Server is not installed', 1 unless have('Net::LDAP::Server') && have('Net::LDAP');
    for (modes()) {
        my ($mode, @args) = @$_;
        my $server = ServerProcess->start(args => \@args, before => <<'END', body => <<'BODY');
package Directory;
use parent 'Net::LDAP::Server';
use Net::LDAP::Constant qw(LDAP_SUCCESS LDAP_INVALID_CREDENTIALS);
use Net::LDAP::Entry;
sub bind {
    my ($self, $request) = @_;
    my $ok = $request->{authentication}{simple} eq 'secret';
    return { matchedDN => '', errorMessage => '', resultCode => $ok ? LDAP_SUCCESS : LDAP_INVALID_CREDENTIALS };
}
sub search {
    my ($self, $request) = @_;
    my $entry = Net::LDAP::Entry->new;
    $entry->dn("cn=one,$request->{baseObject}");
    $entry->add(objectClass => 'person', cn => 'one', sn => 'One');
    return ({ matchedDN => '', errorMessage => '', resultCode => LDAP_SUCCESS }, $entry);
}
END
sub Run {
    my $self = shift;
    my $handler = Directory->new($self->{socket});
    1 until $handler->handle;
}
BODY
        my $ldap = Net::LDAP->new('127.0.0.1', port => $server->port, timeout => 10);
        ok($ldap, "LDAP, $mode: connected") or next;
        ok($ldap->bind('cn=me', password => 'wrong')->code, 'a wrong password');
        is($ldap->bind('cn=me', password => 'secret')->code, 0, 'the right one');
        my $found = $ldap->search(base => 'dc=example', filter => '(cn=one)');
        is($found->count, 1, 'an entry');
        is(($found->entries)[0]->get_value('sn'), 'One', 'is what the server made');
        $ldap->unbind;
    }
}

# ------------------------------------------------------------------------------ dbiproxy
SKIP: {
    skip 'dbiproxy, DBD::SQLite and RPC::PlServer are not all installed', 1
      unless have('DBI') && have('DBD::SQLite') && have('RPC::PlServer') && have('RPC::PlClient');
    for (modes()) {
        my ($mode, @args) = @$_;
        my $server = ServerProcess->start(args => \@args, before => 'use DBI::ProxyServer;',
            main => <<'END');
DBI::ProxyServer::main('--logfile=STDERR', '--localaddr=127.0.0.1', "--localport=$server->{localport}",
    '--pidfile=none', @ARGV);
END
        my $proxy = 'hostname=127.0.0.1;port=' . $server->port . ';dsn=DBI:SQLite:dbname=' . $server->dir . '/db';
        my $dbh = DBI->connect("DBI:Proxy:$proxy", '', '', { RaiseError => 0, PrintError => 0 });
        ok($dbh, "dbiproxy, $mode: connected") or do { diag DBI->errstr; next };
        ok($dbh->do('CREATE TABLE t (a INTEGER, b TEXT)'), 'a table');
        ok($dbh->do('INSERT INTO t VALUES (?, ?)', {}, 1, 'one'), 'a row');
        is_deeply($dbh->selectall_arrayref('SELECT b FROM t WHERE a = 1'), [['one']], 'is found');
        $dbh->disconnect;
    }
}
done_testing();
