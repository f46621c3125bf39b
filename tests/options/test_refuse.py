#!/usr/bin/env python3
"""test_refuse.py - each bad value is refused at start (security rule 3): exit status 2, one line on
standard error that names the option or file:line:column, what was found and what is allowed.

One test for each row of the tables below. Every run has a pid file, a log file and a Unix socket to
make in one folder: when that folder's time of change stays, nothing was ever made there, so nothing
was bound either. In what is expected "..." stands for any text.
"""
import os
import re
import time
import unittest

from ground import Ground
from netd import PATIENCE

SECONDS = max(5, PATIENCE / 3)  # for a whole run; slow builds ask for more patience

ADDRESS = 'tcp:HOST:PORT, tcp:[V6]:PORT or unix:PATH'
V4 = f'{ADDRESS} (an IPv4 address is four numbers from 0 to 255 without leading zeros)'
V6 = f'{ADDRESS} (between the brackets stands an IPv6 address: [::1], [fe80::1%eth0])'
NAME = f'{ADDRESS} (a host name is letters, digits, hyphens and dots)'
PORT = (f'{ADDRESS} (a port is a number from 0 to 65535, or a service name of small letters, '
        'digits and hyphens)')
SECONDS_WORDS = 'seconds from 0 to 31536000'
FACILITIES = ('auth, authpriv, cron, daemon, ftp, kern, lpr, mail, news, syslog, user, uucp, '
              'local0, local1, local2, local3, local4, local5, local6 or local7')
PEER = 'expected an address such as 192.0.2.7, 2001:db8::7, unix or unix:uid=1000,gid=100'
RATE = 'a rate such as 50/s, 600/m or 1000/h, at most 1000000/s, or 0'
ID_RANGE = 'a number must be between 0 and 4294967294'

# Option, what is allowed, values that are not: "--OPTION: found 'VALUE', expected ALLOWED". Each is
# given on the command line and, where the option may stand there, in a config file.
VALUES = [
    ('accept-burst', 'a number from 1 to 1000000', ['0', '1000001', '-1', '10/s', '']),
    ('accept-rate', RATE, ['', '/s', '5/', '5/d', '0.5/s', '-1/s', '01/m', '1000001/s', '%n%s']),
    ('bind', ADDRESS, ['127.0.0.1:80', 'udp:127.0.0.1:80', 'TCP:127.0.0.1:80', 'nowhere', '%n%s']),
    ('bind', f'{ADDRESS} (the port is missing)', ['tcp:127.0.0.1', 'tcp:[::1]']),
    ('bind', PORT, ['tcp:127.0.0.1:65536', 'tcp:[::1]:00080', 'tcp:localhost:HTTP']),
    ('bind', V4, ['tcp:127.1:80', 'tcp:0127.0.0.1:80', 'tcp:256.0.0.1:80', 'tcp:0x7f.1:80']),
    ('bind', V6, ['tcp:[127.0.0.1]:80', 'tcp:[::g]:80']),
    ('bind', NAME, ['tcp:-a:80', 'tcp:a b:80', 'tcp:a..b:80']),
    ('bind', f'{ADDRESS} (an IPv6 address stands in brackets: tcp:[::1]:80)', ['tcp:::1:80']),
    ('bind', f'{ADDRESS} (a bracket is not closed)', ['tcp:[::1:80']),
    ('bind', f'{ADDRESS} (the path is missing)', ['unix:']),
    ('bind', f'{ADDRESS} (the path of a Unix socket has at most 107 bytes)',
     ['unix:/' + 'x' * 107]),
    ('bind', 'an address, tcp:HOST:PORT or unix:PATH', ['']),
    ('childs', 'a number from 0 to 1024',
     ['', '-1', '1025', '01', '1e3', '2 ', '0x2', '99999999999999999999', 'two']),
    ('chroot', 'the absolute path of a directory', ['']),
    ('chroot', 'an absolute path', ['relative', '%n%s']),
    ('chroot', 'a directory: No such file or directory', ['/nonexistent/x', '/%n%s']),
    ('chroot', 'a directory', ['/etc/passwd']),
    ('compact-after', SECONDS_WORDS, ['', '-1', '31536001', '10s', 'never', '%n%s']),
    ('drain-timeout', SECONDS_WORDS, ['-1', '31536001', '1,5', '1.', '.5', 'inf', '1s', 'soon']),
    ('facility', FACILITIES, ['deamon', 'local8', 'DAEMON', '']),
    ('first-byte-timeout', SECONDS_WORDS, ['', '-1', '31536001', '5s']),
    ('group', 'a group name or number', ['']),
    ('idle-timeout', SECONDS_WORDS, ['-0.1', '1m', 'never']),
    ('io', 'auto, io_uring, epoll or poll',
     ['', 'uring', 'io-uring', 'EPOLL', 'select', '-1', 'epoll|poll', '%n%s']),
    ('listen', 'a number from 1 to 65535', ['0', '65536', '-1', 'many']),
    ('localaddr', 'an IP address or host name', ['']),
    ('localmode', 'octal permissions from 0 to 0777',
     ['0888', '1777', 'u=rw', '-660', '00660', '']),
    ('localowner', 'USER, USER:GROUP or :GROUP', ['']),
    ('localpath', 'the path of a Unix socket', ['']),
    ('localport', 'a port from 0 to 65535 or a service name',
     ['', '65536', '-1', '080', '80 ', ' 80', '0x50', 'no-such-service', '1e3', '%n%s']),
    ('logfile', 'a file name or STDERR', ['']),
    ('loop-timeout', SECONDS_WORDS, ['-1', 'soon', '1e3', '31536000.001']),
    ('max-connections', 'a number from 0 to 10000000', ['-1', '10000001', 'ten']),
    ('max-per-address', 'a number from 0 to 10000000', ['-1', '10000001', '5/s', '']),
    ('max-per-prefix', 'a number from 0 to 10000000', ['-1', '10000001', '/24']),
    ('mode', 'single, fork, threads or fibers', ['thread', 'fiber', 'Fork', '', 'single|fork', '%n%s%s%s']),
    ('notify-fd', 'a number from 3 to 1000000', ['', '0', '2', '1000001', 'stdout']),
    ('pidfile', 'a file name or none', ['']),
    ('prefix-ipv4', 'a number from 8 to 32', ['7', '33', '/24', '']),
    ('prefix-ipv6', 'a number from 16 to 128', ['15', '129', '::/64']),
    ('proto', 'tcp or unix', ['udp', 'TCP']),
    ('rate-burst', 'a number from 1 to 1000000', ['0', '1000001', '5/s']),
    ('rate-per-address', RATE, ['', 'many', '5/week', '5 /s', '3600000001/h', '9' * 30 + '/s']),
    ('rules', 'a file name', ['']),
    ('stack-size', 'a size from 64K to 1G',
     ['65535', '63K', '2G', '1025M', '1T', 'M', '1 M', '-1', '99999999999999999999G']),
    ('stall-time', SECONDS_WORDS, ['', '-0.1', '31536000.001', '100ms', '1e-1', 'never']),
    ('timeout', SECONDS_WORDS, ['-0.5', 'never', '']),
    ('total-timeout', SECONDS_WORDS, ['-1', '31536000.001', '1h']),
    ('user', 'a user name or number', ['']),
    ('loop-does', 'nothing, crash, fail, sleep or stop', ['dance', 'nothing|crash', '']),
]

# Option, words, values: "--OPTION: WORDS" with VALUE in them.
IDS = [
    ('user', "unknown user '{}'", ['no such user', '0day', 'nobody ', '+0', '%n%s', 'u' * 255]),
    ('user', f"user '{{}}': {ID_RANGE}", ['-1', '4294967295', '4294967296', '9' * 20]),
    ('user', "user '{}' is not in the user database: name a group too", ['4711', '4294967294']),
    ('group', "unknown group '{}'", ['no such group', '0day', '0x0', '%n%s']),
    ('group', f"group '{{}}': {ID_RANGE}", ['-1', '4294967295']),
    ('localowner', "owner '{0}': unknown user '{0}'", ['no-such-user', '0day', '%n%s']),
    ('localowner', "owner '{}': unknown group 'x'", ['root:x', ':x']),
    ('localowner', "owner '{}': the name of a group is empty", ['root:', ':']),
    ('localowner', f"owner '{{0}}': user '{{0}}': {ID_RANGE}", ['4294967295', '-1']),
]


def local(words):
    """The words for --localaddr that has this wrong."""
    return words.replace(ADDRESS, 'an IP address or host name')


# Arguments, the line. \x.. in a line: how a control character is shown.
LINES = [
    (['--allow', '10.0.0.1/8'], '--allow: ...10.0.0.1/8...'),
    (['--allow', ''], "--allow: found '', expected an address, ..."),
    (['--completion', 'tcsh'], "--completion: found 'tcsh', expected bash or zsh"),
    (['--deny', '%n%s'], "--deny: found '%n%s', expected an address, ..."),
    (['--rules', '/nonexistent/%n'], '--rules: /nonexistent/%n: No such file or directory'),
    (['--section', 'x'], "--section: found 'x' without a file, expected --configfile FILE too"),
    (['--section', ''], "--section: found '', expected the name of a service"),
    (['--explain', '10.0.0.0/8'], f'--explain: 10.0.0.0/8: {PEER}'),
    (['--explain', '010.0.0.1'], f'--explain: 010.0.0.1: {PEER}'),
    (['--explain', 'localhost'], f'--explain: localhost: {PEER}'),
    (['--explain', 'unix:uid=-1'], f'--explain: unix:uid=-1: {PEER}'),
    (['--explain', 'unix:uid=1,uid=2'], f'--explain: unix:uid=1,uid=2: {PEER}'),
    (['--explain', 'unix:gid='], f'--explain: unix:gid=: {PEER}'),
    (['--explain', '::1%lo'], f'--explain: ::1%lo: {PEER}'),
    (['--explain', '%n%s'], f'--explain: %n%s: {PEER}'),
    (['--explain='], "--explain: found '', expected an address"),
    (['--localaddr', '0'], f"--localaddr: found '0', expected {local(V4)}"),
    (['--logfile', '-'],
     "--logfile: found '-', expected STDERR for standard error, or a file as in ./-"),
    (['--nodebugg'], '--nodebugg: unknown option, did you mean --nodebug?'),
    (['--no-loop_childd'], '--no-loop_childd: unknown option, did you mean --noloop-child?'),
    (['--nomod'], '--nomod: unknown option, see --help'),
    (['--localaddr', '127.1'], f"--localaddr: found '127.1', expected {local(V4)}"),
    (['--localaddr', '256.1.1.1'], f"--localaddr: found '256.1.1.1', expected {local(V4)}"),
    (['--localaddr', '2130706433'], f"--localaddr: found '2130706433', expected {local(V4)}"),
    (['--localaddr', '127.0.0.1:80'], f"--localaddr: found '127.0.0.1:80', expected {local(V6)}"),
    (['--localaddr', '::g'], f"--localaddr: found '::g', expected {local(V6)}"),
    (['--localaddr', 'a..b'], f"--localaddr: found 'a..b', expected {local(NAME)}"),
    (['--localaddr', '%n%s'], f"--localaddr: found '%n%s', expected {local(NAME)}"),
    (['--localpath', '/' + 'x' * 107],
     "--localpath: found '/xxx...', expected the path of a Unix socket of at most 107 bytes"),
    (['--localpath', '/nonexistent/s', '--proto', 'tcp'],
     "--proto: found 'tcp' together with localpath (--localpath), expected unix"),
    (['--proto', 'unix'], "--proto: found 'unix' without a path, expected --localpath PATH too"),
    (['--user', '--debug'], '--user: no value given: --debug is an option; if it is the value, '
     'write --user=VALUE'),
    (['--user', '--', 'x'], '--user: no value given: -- is an option; ...'),
    (['--user', 'nobody', '--group', 'no-such'], "--group: unknown group 'no-such'"),
    (['--user', 'no-such', '--group', 'nogroup'], "--user: unknown user 'no-such'"),
    (['--user', 'u' * 256],
     "--user: found 'uuu...', expected a user name or number of at most 255 bytes"),
    (['--mode', 'x' * 3000], "--mode: found 'xxx...', expected single, fork, threads or fibers"),
    (['--pidfile', 'p' * 4096],
     "--pidfile: found 'ppp...', expected a file name or none of at most 4095 bytes"),
    (['--configure-fails'], '--configure-fails: as you wish'),
    (['--configfile='], "--configfile: found '', expected a file name"),
    (['--configfile', '/nonexistent/x'], '.../nonexistent/x: No such file or directory'),
    (['--configfile', '/nonexistent/%n%s'], '.../nonexistent/%n%s: No such file or directory'),
    (['--configfile', '/nonexistent/' + 'y' * 4000], '...yyy: ...'),
    (['--configfile', '/etc'], '.../etc: found a directory, expected a regular file'),
    (['--configfile', '/dev/null'], '.../dev/null: found a device, expected a regular file'),
    (['--clients', '[]'], '--clients: unknown option, ...'),
    (['--no-such-option'], '--no-such-option: unknown option, see --help'),
    (['--locaport', '1'], '--locaport: unknown option, did you mean --localport?'),
    (['--port', '1'], '--port: unknown option, did you mean --localport?'),
    (['--nomode'], '--nomode: unknown option, did you mean --mode?'),
    (['---mode', 'fork'], '---mode: unknown option, did you mean --mode?'),
    (['--%n%s'], '--%n%s: unknown option, see --help'),
    (['-x'], '-x: unknown option, see --help'),
    (['--=1'], '--: unknown option, see --help'),
    (['--' + 'z' * 2000], '--zzz...: unknown option, see --help'),
    (['--local', '1'], '--local: ambiguous, may be --localaddr, --localmode, --localowner, '
     '--localpath or --localport'),
    (['--lo', '1'], '--lo: ambiguous, may be --localaddr, ..., --loop-timeout or --loop-does'),
    (['--c', '1'], '--c: ambiguous, may be --catchint, ... --compact-after, --completion, ...'),
    (['--st', '1'], '--st: ambiguous, may be --stack-size or --stall-time'),
    (['--i_o', 'poll'], '--i_o: unknown option, ...'),
    (['--nocompact-after'], '--nocompact-after: unknown option, did you mean --compact-after?'),
    (['--no'], '--no: ambiguous, may be --nocatchint, ...'),
    (['word'], "unexpected argument 'word'"),
    (['--', 'word'], "unexpected argument 'word'"),
    (['-'], "unexpected argument '-'"),
    (['--mode', 'fork', 'threads'], "unexpected argument 'threads'"),
    (['%n%s'], "unexpected argument '%n%s'"),
    (['x\ny'], r"unexpected argument 'x\x0ay'"),
    (['--\nx'], r'--\x0ax: unknown option, see --help'),
    (['--mode', '\x7f\x01'], r"--mode: found '\x7f\x01', expected single, fork, threads or fibers"),
    (['--user', 'a\nb'], r"--user: unknown user 'a\x0ab'"),
    (['--group', 'a\x1b[31mb'], r"--group: unknown group 'a\x1b[31mb'"),
    (['--bind', 'a\nb'], rf"--bind: found 'a\x0ab', expected {ADDRESS}"),
    (['--localaddr', 'a\nb'], rf"--localaddr: found 'a\x0ab', expected {local(NAME)}"),
    (['--localowner', 'a\nb'], r"--localowner: owner 'a\x0ab': unknown user 'a\x0ab'"),
    (['--explain', 'a\nb'], rf'--explain: a\x0ab: {PEER}'),
    (['--configfile', '/nonexistent/a\nb'],
     r'.../nonexistent/a\x0ab: No such file or directory'),
]

CODE = 'a config file is data, code is not run'
HINT = '; if this is YAML, its name must end in .yaml, .yml or .json'
QUOTES = f'{CODE} (text stands in quotes)'
NET = ('expected an address or a network in full, such as 192.0.2.7, 192.0.2.0/24 or '
       '2001:db8::/32')

# Perl syntax: text of the file, "LINE:COLUMN: words".
PERL = [
    ("{ mod => 'fork' }", "1:3: unknown key 'mod', did you mean 'mode'?"),
    ("{ whatever => 1 }", "1:3: unknown key 'whatever'"),
    ("{ MODE => 'fork' }", "1:3: unknown key 'MODE', did you mean 'mode'?"),
    ("{ '%n%s' => 1 }", "1:3: unknown key '%n%s'"),
    ("{ 'a\nb' => 1 }", r"1:3: unknown key 'a\x0ab'"),
    ("{ childs => [2] }", '1:13: childs: found a list, expected a number from 0 to 1024'),
    ("{ mode => { a => 1 } }", '1:11: mode: found a map, expected single, fork, threads or fibers'),
    ("{ io => ['epoll'] }", '1:9: io: found a list, expected auto, io_uring, epoll or poll'),
    ("{ compact_after => { a => 1 } }", f'1:20: compact-after: found a map, expected {SECONDS_WORDS}'),
    ("{ 'stall-time' => 1,\n stall_time => 1 }", '2:16: stall-time: given twice'),
    ("{ mode => undef }", '1:11: mode: found nothing (undef), expected single, ...'),
    ("{ debug => 'maybe' }", "1:12: debug: found 'maybe', expected true or false"),
    ("{ loop_child => 1,\n 'loop-child' => 1 }", '2:18: loop-child: given twice'),
    ("{ configfile => '/x' }", '1:17: configfile: belongs on the command line: --configfile'),
    ("{ check => 1 }", '1:12: check: belongs on the command line: --check'),
    ("{ help => 1 }", '1:11: help: belongs on the command line: --help'),
    ("{ version => 1 }", '1:14: version: belongs on the command line: --version'),
    ("{ explain => 'unix' }", '1:14: explain: belongs on the command line: --explain'),
    ("{ chroot => 'relative' }", "1:13: chroot: found 'relative', expected an absolute path"),
    ("{ proto => 'unix' }", "1:12: proto: found 'unix' without a path, expected --localpath ..."),
    ("{ bind => ['tcp:127.0.0.1:0', ['unix:/x']] }", '1:31: bind: found a list, expected an ...'),
    ("{ clients => 'all' }", '1:14: clients: found a single value, expected a list of rules'),
    ("{ clients => { mask => '.*' } }", '1:14: clients: found a map, expected a list of rules'),
    ("{ clients => ['^127'] }", '1:15: clients: found a single value, expected a rule: a map ...'),
    ("{ clients => [{ accept => 'deny' }] }", "1:27: ...accept: found 'deny', expected 1 or 0"),
    ("{ clients => [{ accept => [1] }] }", '1:27: ...accept: found a list, expected 1 or 0'),
    ("{ clients => [{ mask => '(' }] }", '1:25: clients rule 1: mask (: at offset 1: missing ...'),
    ("{ clients => [{ mask => '[a' }] }", '1:25: clients rule 1: mask [a: at offset 2: ...'),
    ("{ clients => [{ mask => 'a{2,1}' }] }", '1:25: ...mask a{2,1}: at offset ...'),
    ("{ clients => [{ mask => '*' }] }", '1:25: clients rule 1: mask *: at offset 0: ...'),
    ("{ clients => [{ mask => '(%n%s' }] }", '1:25: clients rule 1: mask (%n%s: at offset 5: ...'),
    ('{ clients => [{ mask => "(a\\nb" }] }', r'1:25: clients rule 1: mask (a\x0ab: at ...'),
    ("{ clients => [{ mask => ['a', ''] }] }", '1:31: ...mask: found empty text, expected a ...'),
    ("{ clients => [{ mask => { a => 1 } }] }", '1:25: ...mask: found a map, expected a ...'),
    ("{ clients => [\n  { mask => '.*' },\n  { net => '10.0.0.1/8' },\n] }",
     '3:12: clients rule 2: net: 10.0.0.1/8: host bits are set, did you mean 10.0.0.0/8?'),
    ("{ clients => [{ net => '::ffff:10.0.0.0/8' }] }", '1:24: ...host bits are set, ...'),
    ("{ clients => [{ net => '10.0.0' }] }", f'1:24: clients rule 1: net: 10.0.0: {NET}'),
    ("{ clients => [{ net => '010.0.0.0/8' }] }", f'1:24: ...net: 010.0.0.0/8: {NET}'),
    ("{ clients => [{ net => '0x0a.0.0.0/8' }] }", f'1:24: ...net: 0x0a.0.0.0/8: {NET}'),
    ("{ clients => [{ net => ' 10.0.0.0/8' }] }", f'1:24: ...net:  10.0.0.0/8: {NET}'),
    ("{ clients => [{ net => 'fe80::1%lo' }] }", f'1:24: ...net: fe80::1%lo: {NET}'),
    ("{ clients => [{ net => 'localhost' }] }", f'1:24: ...net: localhost: {NET}'),
    ("{ clients => [{ net => '10.0.0.0/-1' }] }", f'1:24: ...net: 10.0.0.0/-1: {NET}'),
    ('{ clients => [{ net => "a\\nb" }] }', rf'1:24: ...net: a\x0Ab: {NET}'),
    ("{ clients => [{ net => '10.0.0.0/33' }] }", "1:24: ...'33' after the slash, ... to 32"),
    ("{ clients => [{ net => '10.0.0.0/08' }] }", "1:24: ...'08' after the slash, ... to 32"),
    ("{ clients => [{ net => '10.0.0.0/' }] }", "1:24: ...found '' after the slash, ... to 32"),
    ("{ clients => [{ net => '10.0.0.0/255.0.0.0' }] }", "1:24: ...'255.0.0.0' after the ..."),
    ("{ clients => [{ net => '::1/129' }] }", "1:24: ...found '129' after the slash, ... to 128"),
    ("{ clients => [{ net => '' }] }", '1:24: ...net: found empty text, expected a network or ...'),
    ("{ clients => [{ net => [] }] }", '1:24: ...net: found an empty list, expected a network ...'),
    ("{ clients => [{ uid => [] }] }", '1:24: ...uid: found an empty list, expected a user or ...'),
    ("{ clients => [{ uid => 'no-such' }] }", '1:24: ...uid: there is no user no-such'),
    ("{ clients => [{ gid => 'no-such' }] }", '1:24: ...gid: there is no group no-such'),
    ("{ clients => [{ uid => -1 }] }", "1:24: ...found '-1', expected a number from 0 to 4294967294"
     " or the name of a user"),
    ("{ clients => [{ uid => 4294967295 }] }", "1:24: ...found '4294967295', expected a ..."),
    ("{ clients => [{ gid => '0day' }] }", "1:24: ...found '0day', expected a number ..."),
    ("[ 'mode' ]", '1:1: found a list, expected a map of options'),
    ("'mode'", "1:1: found 'mode', expected '{'"),
    ("{ mode => 'fork'", "1:17: found the end of the file, expected ',' or '}'"),
    ("{ mode => 'fork }", '1:11: found the end of the file in the string that begins here, ...'),
    ("{ mode 'fork' }", f"1:3: found 'mode', expected a key: {QUOTES}"),
    ("{ mode => }", "1:11: found '}', expected a value for the key 'mode' (an odd number of ..."),
    ("{ mode => 'fork', 'single' }", "1:28: found '}', expected a value for the key 'single' ..."),
    ("{ mode => fork }", f"1:11: found 'fork', expected a value: {QUOTES}"),
    ("{ mode => $mode }", f"1:11: found '$mode', expected a value or punctuation: {CODE}"),
    ('{ mode => "$mode" }', f"1:12: found '$mode' in a string, expected '\\$mode': {CODE}"),
    ('{ mode => "@modes" }', f"1:12: found '@modes' in a string, expected '\\@modes': {CODE}"),
    ("{ mode => `id` }", f"1:11: found '`id', expected a value or punctuation: {CODE}"),
    ("{ mode => system('id') }", f"1:11: found 'system', expected a value: {QUOTES}"),
    ("{ mode => sub { 1 } }", f"1:11: found 'sub', expected a value: {QUOTES}"),
    ("{ mode => 'fo' . 'rk' }", f"1:16: found '.', expected a value or punctuation: {CODE}"),
    ("{ mode => <<EOT }\nfork\nEOT\n", f"1:11: found '<<EOT', expected a value or ...: {CODE}"),
    ("{ childs => 1 + 1 }", f"1:15: found '+', expected a value or punctuation: {CODE}"),
    ("require DBI;\n{ }", f"1:1: found 'require', expected '{{': {QUOTES}"),
    ("{ clients => [ { mask => '.*' ] }", "1:31: found ']', expected ',' or '}'"),
    ("{ a => 'b' 'c' => 'd' }", "1:12: found 'c', expected ',' or '}'"),
    ("{ } { }", "1:5: found '{', expected ';' or the end of the file"),
    ("{ childs => 08 }", "1:13: found '08', expected a number, or text in quotes"),
    ("{ childs => 0x }", "1:13: found '0x', expected a number, or text in quotes"),
    ("{ childs => 1e3 }", "1:13: found '1e3', expected a number, or text in quotes"),
    ("{ 'mode' => 'fork'\n\0 }", '2:1: found a NUL byte, expected text'),
    (b"{ \xff => 1 }", r"1:3: found '\xFF', expected a value or punctuation: ..."),
    ('[' * 65, '1:33: found one more nesting, expected at most 32'),
    ('mode: fork\n', f"1:1: found 'mode', expected '{{': {QUOTES}{HINT}"),
    ('# of mine\n\n---\nallow_it:\n  - x\n',
     f"3:1: found '---', expected a value or punctuation: {CODE}{HINT}"),
    ('{"mode": "fork"}', f"1:8: found ':', expected a value or punctuation: ...{HINT}"),
    ('{mode => x}', f"1:10: found 'x', expected ...: {QUOTES}"),
    ('Foo::bar()', f"1:1: found 'Foo', expected '{{': {QUOTES}"),
]

# YAML: the same. Where the words are the YAML library's own, only the place counts.
YAML = [
    ('mode: thread\n', "1:7: mode: found 'thread', expected single, fork, threads or fibers"),
    ('mod: fork\n', "1:1: unknown key 'mod', did you mean 'mode'?"),
    ('mode: "%n%s"\n', "1:7: mode: found '%n%s', expected single, fork, threads or fibers"),
    ('"a\\nb": 1\n', r"1:1: unknown key 'a\x0ab'"),
    ('mode:\n  - fork\n', '2:3: mode: found a list, expected single, fork, threads or fibers'),
    ('mode: fork\nmode: single\n', "2:1: found the key 'mode' twice, expected it once"),
    ('childs: ~\n', '1:9: childs: found nothing (undef), expected a number from 0 to 1024'),
    ('io: uring\n', "1:5: io: found 'uring', expected auto, io_uring, epoll or poll"),
    ('stall-time: -1\n', f"1:13: stall-time: found '-1', expected {SECONDS_WORDS}"),
    ('compact_after: ~\n', '1:16: compact-after: found nothing (undef), expected seconds ...'),
    ('childs: 2.0\n', "1:9: childs: found '2.0', expected a number from 0 to 1024"),
    ('debug: 2\n', "1:8: debug: found '2', expected true or false"),
    ('localmode: 999\n', "1:12: localmode: found '999', expected octal permissions from 0 to 0777"),
    ('version: true\n', '1:10: version: belongs on the command line: --version'),
    ('clients: none\n', '1:10: clients: found a single value, expected a list of rules'),
    ('clients:\n  mask: x\n', '2:3: clients: found a map, expected a list of rules'),
    ('clients: [1]\n', '1:11: clients: found a single value, expected a rule: a map ...'),
    ("clients:\n  - mask: '('\n", '2:11: clients rule 1: mask (: at offset 1: ...'),
    ('clients:\n- {accept: maybe}\n', 
     "2:12: clients rule 1: accept: found 'maybe', expected 1 or 0"),
    ('clients:\n  - net: 10.1.2.3/8\n    accept: yes\n', '2:10: clients rule 1: net: ...'),
    ('- mode\n', '1:1: found a list, expected a map of options'),
    ('fork\n', '1:1: found text, expected a map (key: value)'),
    ('mode: *fork\n', "1:7: found the alias '*fork', expected one whose anchor '&fork' comes ..."),
    ('a: &a [*a]\n', "1:8: found the alias '*a', expected one whose anchor '&a' does not ..."),
    ('mode: !!python/object:os.system id\n', "1:7: found the tag '...', expected none, ..."),
    ('<<: {mode: fork}\n', "1:1: found the merge key '<<', expected keys written out"),
    ('--- {}\n--- {}\n', '2:1: found another document, expected the end of the file'),
    ('? [a]\n: b\n', '1:3: found a list or map as key, expected text'),
    ('mode: "a\\0b"\n', '1:7: found a NUL character, expected text without'),
    (b'mode: \xff\n', '1:7: found a byte that is no text: ...'),
    ('mode: fork\n  childs: 2\n', '2:...'),
    ('\tmode: fork\n', '1:1: ...'),
    ("mode: 'fork\n", '...: ...'),
    ('mode: [fork\n', '...: ...'),
    ('mode: @fork\n', '1:7: ...'),
]

# Name of the file, text, the same.
CALLED = [
    ('x.yml', 'mode: thread\n', "1:7: mode: found 'thread', expected single, fork, threads or fibers"),
    ('x.json', '{"mode": "thread"}', "1:10: mode: found 'thread', expected single, ..."),
    ('x.json', '{"mode": "fork",, }', '1:17: ...'),
    ('x.JSON', '{"mode" "fork"}', '1:9: ...'),
    ('a\nb.conf', '{ mode => 1 }', "1:11: mode: found '1', expected single, fork, threads or fibers"),
    ('%n%s.yaml', 'mode: 1', "1:7: mode: found '1', expected single, fork, threads or fibers"),
]

FLAGS = ['catchint', 'check', 'coredump', 'debug', 'help', 'loop-child', 'version', 'refuse',
         'open-fails', 'configure-fails',
         'print-address']
ARGUMENTS = {'accept-burst': 'NUMBER', 'accept-rate': 'RATE', 'allow': 'WHO', 'bind': 'ADDRESS',
             'childs': 'NUMBER', 'chroot': 'DIRECTORY', 'compact-after': 'SECONDS',
             'completion': 'SHELL', 'configfile': 'FILE', 'deny': 'WHO', 'drain-timeout': 'SECONDS',
             'explain': 'ADDRESS', 'facility': 'NAME', 'first-byte-timeout': 'SECONDS',
             'group': 'GROUP', 'idle-timeout': 'SECONDS', 'io': 'NAME', 'listen': 'NUMBER',
             'localaddr': 'ADDRESS', 'localmode': 'MODE', 'localowner': 'OWNER', 'localpath': 'PATH',
             'localport': 'PORT', 'logfile': 'FILE', 'loop-timeout': 'SECONDS',
             'max-connections': 'NUMBER', 'max-per-address': 'NUMBER', 'max-per-prefix': 'NUMBER',
             'mode': 'MODE', 'notify-fd': 'NUMBER', 'pidfile': 'FILE', 'prefix-ipv4': 'BITS',
             'prefix-ipv6': 'BITS', 'proto': 'NAME', 'rate-burst': 'NUMBER',
             'rate-per-address': 'RATE', 'rules': 'FILE', 'section': 'NAME', 'stack-size': 'BYTES',
             'stall-time': 'SECONDS', 'timeout': 'SECONDS', 'total-timeout': 'SECONDS',
             'user': 'USER', 'loop-does': 'VALUE'}


class Refuse(Ground):
    """Rule 3. The tests are made from the tables by the functions below."""

    def check(self, args, expected):
        place = self.path('place')
        os.mkdir(place)
        before = os.stat(place).st_mtime_ns
        began = time.monotonic()
        result = self.run_program(
            '--localaddr', '127.0.0.1', '--localport', '0', '--pidfile', f'{place}/pid',
            '--logfile', f'{place}/log', '--bind', f'unix:{place}/socket', '--timeout', '60',
            *args, text=False)
        took = time.monotonic() - began
        line = result.stderr.decode('utf-8', 'replace')
        self.assertEqual(result.returncode, 2, line)
        self.assertEqual(result.stdout, b'')
        self.assertRegex(line, r'\A[^\x00-\x1f\x7f]+\n\Z')
        pattern = '.*'.join(map(re.escape, expected.split('...')))
        self.assertRegex(line, rf'\Aconform: {pattern}\n\Z')
        self.assertEqual(os.listdir(place), [])
        self.assertEqual(os.stat(place).st_mtime_ns, before, 'something was made, and removed')
        self.assertLess(took, SECONDS)

    def test_no_address_at_all(self):
        result = self.run_program()
        self.assertEqual((result.returncode, result.stdout), (2, ''))
        self.assertEqual(result.stderr, 'conform: no address to listen on: give --localport PORT, '
                         '--localpath PATH or --bind ADDRESS\n')

    def test_bad_address_in_a_file(self):
        """In the rows below the command line's --bind takes the place of the file's."""
        path = self.file('x.yaml', 'bind: [nowhere]\n')
        line = self.refused('--configfile', path)
        self.assertEqual(line, f"conform: {path}:1:7: found 'nowhere', expected {ADDRESS}")

    def test_no_option_is_left_out(self):
        """Every row of --help stands in the tables, or is a flag."""
        listed = re.findall(r'^  --(?:\[no\])?([\w-]+)', self.run_program('--help').stdout, re.M)
        self.assertGreater(len(listed), 30)
        self.assertEqual(sorted(listed), sorted([*FLAGS, *ARGUMENTS]))
        rows = {name for name, _, _ in VALUES + IDS}
        rows |= {args[0].lstrip('-').rstrip('=') for args, _ in LINES}
        self.assertEqual([name for name in ARGUMENTS if name not in rows], [])


def add_test(name, method):
    """A test method; rows whose names come out the same are numbered."""
    name = re.sub(r'[^\w-]+', '_', name)[:60]
    same = sum(1 for key in vars(Refuse) if key == name or key.startswith(name + '__'))
    setattr(Refuse, f'{name}__{same}' if same else name, method)


def add_line(name, args, expected):
    add_test(name, lambda self: self.check(args, expected))


def add_file(name, text, expected, called='x.conf'):
    """FILE in what is expected stands for the path."""
    def test(self):
        path = self.file(called, text)
        shown = path.replace('\n', r'\x0a')
        self.check(['--configfile', path], expected.replace('FILE', shown))
    add_test(name, test)


# Found wrong only when all is put together, and then the command line has the last word.
LATE = {'chroot', 'bind'}


def add_values():
    for option, allowed, values in VALUES:
        for value in values:
            found = value if len(value) < 60 else value[:60] + '...'
            words = f"{option}: found '{found}', expected {allowed}"
            add_line(f'test_line_{option}_{value}', [f'--{option}', value], f'--{words}')
            if option not in LATE:
                add_file(f'test_file_{option}_{value}', f"{{\n  '{option}' => '{value}',\n}}\n",
                         f'FILE:2:{len(option) + 9}: {words}')


def add_all():
    add_values()
    for option, words, values in IDS:
        for value in values:
            words_here = words.format(value)
            add_line(f'test_line_{option}_{value}', [f'--{option}', value],
                     f'--{option}: {words_here}')
            add_file(f'test_file_{option}_{value}', f'{option}: "{value}"\n',
                     f'FILE:1:{len(option) + 3}: {words_here}', 'x.yaml')
    for args, expected in LINES:
        add_line(f'test_line_{"_".join(args)}', args, expected)
    for name in FLAGS:
        add_line(f'test_value_for_{name}', [f'--{name}=1'],
                 f'--{name}: takes no value; use --{name} or --no{name}')
    for name, argument in ARGUMENTS.items():
        add_line(f'test_no_value_for_{name}', [f'--{name}'],
                 f'--{name}: no value given, expected --{name} {argument}')
    for text, expected in PERL:
        add_file(f'test_perl_{text}', text, f'FILE:{expected}')
    for text, expected in YAML:
        add_file(f'test_yaml_{text}', text, f'FILE:{expected}', 'x.yaml')
    for called, text, expected in CALLED:
        add_file(f'test_{called}_{text}', text, f'FILE:{expected}', called)


add_all()

if __name__ == '__main__':
    unittest.main()
