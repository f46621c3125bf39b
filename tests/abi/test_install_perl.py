"""test_install_perl.py - Net::Daemon for Perl as it is installed and as it is given away.

A folder with blanks in its name holds build.sh and links to the sources; `build.sh install --perl`
is run there, and what it built is removed before anything is tried.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import unittest

ROOT, DIST = os.environ['SOURCE_ROOT'], os.environ['PERL_DIST']
SYSTEM = re.compile(r'(libc|libpthread|librt|ld-linux.*)\.so\.\d+')
SERVER = '''
use Net::Daemon;
package Echo;
our @ISA = ('Net::Daemon');
sub Run { my $s = $_[0]{socket}; while (defined(my $line = $s->getline)) { print $s $line } }
package main;
Echo->new({ pidfile => 'none' }, \\@ARGV)->Bind;
'''
WHERE = ['perl', '-MNet::Daemon', '-e', 'print $INC{"Net/Daemon.pm"}']


def run(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, check=False, **more)
    return done.returncode, done.stdout


def config(name):
    return run('perl', '-MConfig', '-e', f'print $Config{{{name}}}')[1]


def environment(**more):
    return {**{k: v for k, v in os.environ.items() if not k.startswith('PERL')}, **more}


class InstallPerl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory(prefix='netdaemon-perl-')
        cls.addClassCleanup(holder.cleanup)
        cls.folder = holder.name
        tree = os.path.join(cls.folder, 'a tree')
        os.mkdir(tree)
        shutil.copy(os.path.join(ROOT, 'build.sh'), tree)
        for name in ('tools', 'perl', 'src', 'include'):
            os.symlink(os.path.join(ROOT, name), os.path.join(tree, name))
        cls.build_sh = [os.path.join(tree, 'build.sh'), '--no-install', 'install', '--perl']
        cls.prefix = os.path.join(cls.folder, 'prefix')
        cls.dest = os.path.join(cls.folder, 'dest')
        cls.status, cls.said = run(*cls.build_sh, '--prefix', cls.prefix, env=environment())
        cls.dest_status, cls.dest_said = run(*cls.build_sh, '--destdir', cls.dest,
                                             env=environment())
        shutil.rmtree(os.path.join(tree, 'build'), ignore_errors=True)
        cls.lib = os.path.join(cls.prefix, 'lib', 'perl5')

    def test_it_says_what_programs_get_from_now_on(self):
        self.assertEqual(self.status, 0, self.said)
        where = f'{self.lib}/{config("archname")}/Net/Daemon.pm'
        self.assertIn(f'export PERL5LIB={self.lib}\n', self.said)
        self.assertRegex(self.said, rf'(?m)^    {re.escape(where)}, version [\d.]+$')
        self.assertEqual(run(*WHERE, cwd='/', env=environment(PERL5LIB=self.lib)), (0, where))

    def test_a_server_runs_without_what_it_was_built_from(self):
        path, program = os.path.join(self.folder, 'sock'), os.path.join(self.folder, 'echo.pl')
        with open(program, 'w', encoding='utf-8') as out:
            out.write(SERVER)
        server = subprocess.Popen(
            ['perl', program, '--localpath', path, '--mode=fork', '--logfile=STDERR'], cwd='/',
            env=environment(PERL5LIB=self.lib), stderr=subprocess.PIPE, text=True)
        try:
            self.assertIn('Server starting', server.stderr.readline())
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(path)
                client.sendall(b'one line\n')
                self.assertEqual(client.recv(100), b'one line\n')
        finally:
            server.terminate()
            server.communicate(timeout=60)

    def test_it_needs_no_library_but_the_systems_own(self):
        module = f'{self.lib}/{config("archname")}/auto/Net/Daemon/Core/Core.so'
        words = run('readelf', '-d', module)[1]
        needed = re.findall(r'NEEDED.*\[(.*)\]', words)
        self.assertEqual([name for name in needed if not SYSTEM.fullmatch(name)], [])
        self.assertTrue(needed)
        self.assertNotRegex(words, 'R(UN)?PATH')

    def test_a_destdir_gets_it_where_this_perl_looks_first(self):
        place = self.dest + config('installsitearch')
        packlist = f'{place}/auto/Net/Daemon/Core/.packlist'
        self.assertEqual((self.dest_status, self.dest_said),
                         (0, f'Net::Daemon for Perl is in {self.dest}; '
                             f'a list of its files is {packlist}\n'))
        self.assertEqual(run('perl', f'-I{place}', *WHERE[1:], cwd='/', env=environment()),
                         (0, f'{place}/Net/Daemon.pm'))
        first = run('perl', '-e', 'print join "\n", @INC', env=environment())[1].split('\n')
        self.assertLess(first.index(config('installsitearch')), first.index(config('vendorlib')))
        files = {os.path.join(at, name) for at, _, names in os.walk(self.dest) for name in names}
        with open(packlist, encoding='utf-8') as listed:
            self.assertEqual({self.dest + name for name in listed.read().splitlines()},
                             files - {packlist})

    def test_the_way_back_leaves_no_file_of_it(self):
        copy = os.path.join(self.folder, 'copy')
        os.rename(self.prefix, copy)
        shutil.copytree(copy, self.prefix)
        command = re.search(r'^    (xargs .*)$', self.said, re.M)[1]
        self.assertEqual(run('sh', '-c', command), (0, ''))
        left = [name for _, _, names in os.walk(self.prefix) for name in names]
        shutil.rmtree(self.prefix)
        os.rename(copy, self.prefix)
        self.assertEqual(left, ['.packlist'])

    def test_what_cannot_work_is_said_before_anything_is_built(self):
        status, words = run(*self.build_sh, '--prefix', self.folder + '/with blanks')
        self.assertEqual((status, words), (1, 'build.sh: Perl\'s tools take no folder with blanks '
                                           f"in its name: '{self.folder}/with blanks'\n"))
        self.assertFalse(os.path.exists(os.path.dirname(self.build_sh[0]) + '/build'))


class Distribution(unittest.TestCase):
    """What `make dist` makes has what the tests of this build have used, and no more."""

    def test_make_dist_gives_away_what_was_tested(self):
        with tempfile.TemporaryDirectory(prefix='netdaemon-dist-') as folder:
            with open(os.path.join(DIST, 'MANIFEST'), encoding='utf-8') as file:
                names = {line.split()[0] for line in file if line.strip()}
            for name in names:
                os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
                shutil.copy(os.path.join(DIST, name), os.path.join(folder, name))
            status, words = run('sh', '-c', 'perl Makefile.PL && make dist', cwd=folder,
                                env=environment())
            self.assertEqual(status, 0, words)
            archive = re.search(r'Created (Net-Daemon-[\d.]+)\.tar\.gz', words)[1]
            with tarfile.open(f'{folder}/{archive}.tar.gz') as tar:
                inside = {m.name.split('/', 1)[1]: tar.extractfile(m).read()
                          for m in tar.getmembers() if m.isfile()}
        meta = json.loads(inside['META.json'])
        self.assertEqual((meta['license'], meta['name']), (['mit'], 'Net-Daemon'))
        self.assertEqual(archive, f'Net-Daemon-{meta["version"]}')
        self.assertEqual(set(inside) - {'META.json', 'META.yml'}, names)
        listed = {line.split()[0] for line in inside['MANIFEST'].decode().splitlines()}
        self.assertEqual(listed, set(inside))
        for name in names - {'MANIFEST'}:
            with open(os.path.join(DIST, name), 'rb') as file:
                self.assertEqual(file.read(), inside[name], name)
        self.assertIn('core/src/base/base.h', names)
