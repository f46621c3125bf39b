"""test_chat.py - the rooms of the examples: who hears what, and that neither the slow, the rude nor
the gone trouble the others. In the modes in which members can hear each other."""
import contextlib
import itertools
import threading
import unittest

import netd
from modes import InEveryMode, chosen, every_mode

FRESH = itertools.count(1)


class Member(netd.Client):
    """A member with a name, in the lobby unless he says otherwise."""

    def __init__(self, server, name=None, room=None):
        super().__init__(server.socket(), server.patience)
        self.name = self.expect_line(r'\* welcome, (guest\d+)')[1]
        self.hears('* you are in lobby')
        if name:
            self.says(f'/name {name}').hears(f'* you are {name}')
            self.name = name
        if room:
            self.says(f'/join {room}').hears(f'* you are in {room}')

    def says(self, *lines):
        return self.send(''.join(line + '\n' for line in lines).encode())

    def hears(self, *lines):
        return self.expect(''.join(line + '\n' for line in lines).encode())

    def heard_all(self):
        """Nothing came but what was asked for: the next thing is the answer to a question."""
        return self.says('/heard').hears('* /join ROOM, /name NAME, /who, /quit')


class Chat(InEveryMode):
    program = 'chat'

    def server(self, *args, **more):
        """Most tests end with members still there: no need to wait for them."""
        return super().server('--drain-timeout', '0.1', *args, **more)

    def member(self, server, name=None, room=None):
        member = Member(server, name, room)
        self.addCleanup(member.close)
        return member

    def room(self, server, *names):
        """These members, alone in a room. They pass the lobby one by one, so hear nothing there;
        all have heard who came after them."""
        room, members = f'room{next(FRESH)}', []
        for name in names:
            new = self.member(server, name, room)
            for member in members:
                member.hears(f'* {name} joined')
            members.append(new)
        return members


class Talking(Chat):
    def test_the_others_hear_and_the_speaker_does_not(self):
        with self.server() as server:
            ann, bob, eve = self.room(server, 'ann', 'bob', 'eve')
            ann.says('hello, all').heard_all()
            bob.hears('<ann> hello, all').says('hello, ann').heard_all()
            eve.hears('<ann> hello, all', '<bob> hello, ann').heard_all()
            ann.hears('<bob> hello, ann').heard_all()

    def test_rooms_hear_nothing_of_each_other(self):
        with self.server() as server:
            ann, bob = self.room(server, 'ann', 'bob')
            eve, = self.room(server, 'eve')
            ann.says('secret')
            bob.hears('<ann> secret')
            eve.heard_all()
            room = bob.says('/who').expect_line(r'\* (room\d+): bob ann')[1]
            eve.says(f'/join {room}').hears(f'* you are in {room}')
            for member in (ann, bob):
                member.hears('* eve joined')
            ann.says('/join elsewhere').hears('* you are in elsewhere')
            for member in (bob, eve):
                member.hears('* ann left')
            bob.says('she is gone')
            eve.hears('<bob> she is gone')
            ann.heard_all().says('/who').hears('* elsewhere: ann')

    def test_to_join_where_one_is_changes_nothing(self):
        with self.server() as server:
            ann, bob = self.room(server, 'ann', 'bob')
            room = ann.says('/who').expect_line(r'\* (room\d+): bob ann')[1]
            ann.says(f'/join {room}').hears(f'* you are in {room}')
            bob.heard_all()

    def test_names(self):
        with self.server() as server:
            ann, bob = self.room(server, 'ann', 'bob')
            for name in ('', 'guest7', 'Guestbook', 'a.b', 'a:b', 'é', '<ann>', 'x' * 24,
                         '\x1b[31m'):
                bob.says(f'/name {name}').hears('* not a name for you')
            for name in ('ann', 'ANN', 'bob'):
                bob.says(f'/name {name}').hears(f'* {name} is taken')
            for name in ('x' * 23, '-_9'):
                bob.says(f'/name  {name}  and more').hears(f'* you are {name}')
            ann.hears('* bob is now ' + 'x' * 23, '* ' + 'x' * 23 + ' is now -_9').heard_all()
            for name in ('', '../x', 'x' * 24):
                ann.says(f'/join {name}').hears('* not a name for a room')
            for line in ('/', '/x', '/joined x', '/WHO', '/name?x'):
                ann.says(line).hears('* /join ROOM, /name NAME, /who, /quit')
            bob.heard_all()

    def test_the_others_are_told_who_is_gone(self):
        with self.server() as server:
            ann, = self.room(server, 'ann')
            room = ann.says('/who').expect_line(r'\* (room\d+): ann')[1]
            for leave in (lambda m: m.says('/quit', 'not heard').hears(f'* bye, {m.name}'),
                          lambda m: m.shutdown().expect_end(), lambda m: m.reset(),
                          lambda m: m.send(b'last words').shutdown().expect_end()):
                bob = self.member(server, room=room)
                ann.hears(f'* {bob.name} joined')
                leave(bob)
                line = ann.line().decode()
                if line == f'<{bob.name}> last words\n':
                    line = ann.line().decode()
                self.assertEqual(line, f'* {bob.name} left\n')
            ann.heard_all()

    def test_terminals_get_no_control_characters(self):
        with self.server() as server:
            ann, bob = self.room(server, 'ann', 'bob')
            for said, heard in (
                    (b'\x1b]0;x\x07\x1b[2J', b'?]0;x??[2J'), (b'a\0b\rc\x7fd\te', b'a?b?c?d e'),
                    (b'\xc2\x9b31m', b'??31m'), ('Grüße, 世界 😀 \xa0'.encode(),) * 2,
                    (b'\xff\xc3', b'??'), (b'\xc3(\xc0\xaf', b'?(??'), (b'\xe0\x80\x80', b'???'),
                    (b'\xed\xa0\x80', b'???'), (b'\xf4\x90\x80\x80', b'????'),
                    (b'\xf0\x9f\x98', b'???'), ('\u202egnp'.encode(), b'???gnp'),
                    ('\u2028\u2066'.encode(), b'??????'), ('\u2030\u206a'.encode(),) * 2,
                    (b'\xf8\x88\x80\x80\x80', b'?????'),
                    (b'no newline of \x85 ours', b'no newline of ? ours')):
                ann.send(said + b'\r\n')
                bob.expect(b'<ann> ' + heard + b'\n')
            ann.send(b'\0/quit\n/\0quit\n').hears('* /join ROOM, /name NAME, /who, /quit')
            bob.hears('<ann> ?/quit')

    def test_lines_of_every_length(self):
        with self.server() as server:
            ann, bob = self.room(server, 'ann', 'bob')
            ann.says('', 'x' * 511, '', 'after')
            bob.hears('<ann> ' + 'x' * 511, '<ann> after')
            for size in (512, 4095, 4096, 4097, 300000):
                ann.says('x' * size).hears('* too long')
            ann.says('and now')
            bob.hears('<ann> and now')

    def test_lines_in_pieces_and_many_at_once(self):
        with self.server() as server:
            ann, bob = self.room(server, 'ann', 'bob')
            for piece in (b'in ', b'pie', b'ces\nand ', b'so on', b'\n'):
                ann.send(piece)
            bob.hears('<ann> in pieces', '<ann> and so on')
            lines = [f'line {number} ' + 'x' * 100 for number in range(60)]
            ann.says(*lines)
            bob.hears(*(f'<ann> {line}' for line in lines))

    def test_nothing_stays_behind_in_a_buffer(self):
        """More than one read takes, all at once and then silence: every line is answered."""
        with self.server() as server:
            ann, = self.room(server, 'ann')
            for size in (1023, 1024, 4095, 4096, 4097, 8192, 16384, 100000):
                lines = b'/quiet\n' * (size // 7)
                lines = b'/' * (size - len(lines)) + lines  # so many bytes
                ann.send(lines)
                for _ in range(size // 7):
                    ann.hears('* /join ROOM, /name NAME, /who, /quit')

    def test_many_members(self):
        with self.server() as server:
            members = self.room(server, *(f'm{number}' for number in range(40)))
            for speaker in members:
                speaker.says('here')
                for member in members:
                    if member is not speaker:
                        member.hears(f'<{speaker.name}> here')
            listed = members[0].says('/who').line().decode().split(': ')[1].split()
            self.assertEqual(sorted(listed), sorted(member.name for member in members))


class Troubles(Chat):
    def test_who_reads_slowly_loses_lines_and_holds_up_nobody(self):
        total = 30000
        with self.server() as server:
            ann, bob, eve = self.room(server, 'ann', 'bob', 'eve')
            for start in range(0, total, 50):  # eve reads along, bob does not
                ann.says(*(f'{number} ' + 'x' * 400 for number in range(start, start + 50)))
                eve.hears(*(f'<ann> {number} ' + 'x' * 400 for number in range(start, start + 50)))
            ann.says('end')
            eve.hears('<ann> end')
            lost, last = 0, -1
            while (line := bob.line().decode()) != '<ann> end\n':
                if line.startswith('* you read'):
                    lost += int(line.split(': ')[1].split()[0])
                    continue
                number = int(line.split()[1])
                self.assertGreater(number, last)
                self.assertEqual(number, last + 1 + lost, 'as many lost as it says')
                last, lost = number, 0
            self.assertEqual(last + lost, total - 1)
            self.assertLess(last - lost, total)
            bob.heard_all()

    def test_people_come_and_go(self):
        troubles = []

        def restless(server, number):
            try:
                for round_ in range(10):
                    member = Member(server)
                    for step in range(5):
                        member.says(f'/join r{(number + step) % 3}', 'hello', '/who')
                    if round_ % 3 == 0:
                        member.reset()
                    else:
                        member.says('/quit').read_all()
                        member.close()
            except Exception as trouble:  # pylint: disable=broad-except
                troubles.append(trouble)
        with self.server() as server:
            self.member(server).close()
            before = server.settled(server.fd_count)
            threads = [threading.Thread(target=restless, args=(server, n)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(troubles, [])
            netd.wait_until('all descriptors are closed', lambda: server.fd_count() == before)
            ann = self.member(server, 'ann')
            ann.says('/who').hears('* lobby: ann')

    def test_a_stop_cuts_them_all(self):
        with self.server() as server:
            members = self.room(server, 'ann', 'bob')
            server.signal(netd.signal.SIGTERM)
            for member in members:
                member.expect_gone()
            server.wait()


class Start(unittest.TestCase):
    def test_members_must_be_able_to_hear_each_other(self):
        for args, word in ((('--mode', 'single'), 'single'), (('--mode', 'fork'), 'fork'),
                           (('--childs', '2', '--mode', 'threads'), 'childs'),
                           (('--childs', '1'), 'childs')):
            result = netd.run(netd.program('chat'), '--logfile', 'STDERR', '--localport', '0',
                              *args)
            self.assertEqual(result.returncode, 2)
            self.assertIn(word, result.stderr)


def load_tests(loader, standard, pattern):
    """Start once, the others where members share memory."""
    suite = unittest.TestSuite()
    for test in every_mode(Talking, Troubles)(loader, standard, pattern):
        if test.mode in SHARED:
            suite.addTest(test)
    suite.addTests(loader.loadTestsFromTestCase(Start))
    return suite


SHARED = [mode for mode in chosen() if mode.split('-')[0] in ('threads', 'ithreads', 'fibers')]

if __name__ == '__main__':
    unittest.main()
