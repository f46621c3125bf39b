"""clients.py - the options that let clients in, and --section, for test_options.py. What
they promise in every mode is shown in tests/security."""


class OfClients:
    """Tests of Options."""

    def check(self, let_in, *args):
        with self.subTest(args), self.server(*args) as server, server.client() as client:
            if let_in:
                client.send(b'echo in\n').expect(b'in\n')
            else:
                client.expect_gone()

    def test_allow(self):
        for args, let_in in ((['--allow', '127.0.0.1'], True),
                             (['--allow', '192.0.2.0/24', '--allow=127.0.0.0/8'], True),
                             (['--allow', 'all'], True),
                             (['--allow', '192.0.2.0/24'], False)):
            self.check(let_in, *args)

    def test_deny(self):
        for args, let_in in ((['--allow', 'all', '--deny', '127.0.0.1'], False),
                             (['--deny=192.0.2.1', '--allow=all'], True)):
            self.check(let_in, *args)

    def test_rules(self):
        for text, let_in in (('127.0.0.1:allow\n', True), ('127.:deny\n:allow\n', False),
                             ('192.0.2.1:allow\n', False)):
            self.check(let_in, '--rules', self.file('x.rules', text))

    def test_section(self):
        config = self.file('x.conf', "{ debug => 1, services => { one => { mode => 'fork' },"
                                     " two => { mode => 'single', debug => 0 } } }")
        for name, mode, debug in ('one', 'fork', '1'), ('two', 'single', '0'):
            with self.subTest(name):
                checked = self.checked('--localport', '0', '--configfile', config,
                                       '--section', name)
                self.assertEqual(checked['mode'][0], mode)
                self.assertEqual(checked['debug'][0], debug)
