# The manual: its form, and that it names every option.
use strict;
use warnings;
use Test::More;
use FindBin;
use Net::Daemon;
use Pod::Checker ();

for my $file (glob("$FindBin::Bin/../lib/Net/*.pod"), glob("$FindBin::Bin/../lib/Net/Daemon/*.pod")) {
    my $checker = Pod::Checker->new(-warnings => 2);
    my $words   = '';
    open my $out, '>', \$words;
    $checker->parse_from_file($file, $out);
    is($checker->num_errors + $checker->num_warnings, 0, $file) or diag $words;
}
open my $fh, '<', "$FindBin::Bin/../lib/Net/Daemon.pod" or die $!;
my $text = do { local $/; <$fh> };
for my $name (sort keys %{ Net::Daemon->Options }) {
    like($text, qr/B<--(?:no)?\Q$name\E>/, "option $name is in the manual");
}
for my $method (grep { defined &{"Net::Daemon::$_"} } sort keys %Net::Daemon::) {
    like($text, qr/\b\Q$method\E\b/, "method $method is in the manual");
}
done_testing();
