#!/usr/bin/python3
"""Many flows, no files left, abrupt ends: the daemon holds, lets go of everything, stops and starts well."""
import contextlib
import random
import select
import signal
import socket
import sys
import threading
import time

from daemon import Config
from seamtest import Suite
from streams import MIB, Stream, compare_some, expect_reset, ping_pong, receive, reset_and_close, send
from verdict import Failure, check, wait_for

CONFIGS = {"copy": Config("copy"), "splice": Config("splice"), "sockmap": Config("sockmap", enter_after=0)}


class Echo:
    """A server that sends back what it gets, for any number of connections, in one thread. It answers what fits
    into a send buffer; a connection that takes less is closed."""

    def __init__(self, env, family="v4"):
        self.listener, self.poll, self.conns, self.over = env.listen(family), select.epoll(), {}, False
        self.address, self.most = self.listener.getsockname(), 0
        self.listener.setblocking(False)
        self.poll.register(self.listener, select.EPOLLIN)
        self.task = env.spawn(self.run)

    def run(self):
        while not self.over:
            for fd, _ in self.poll.poll(0.1):
                if fd == self.listener.fileno():
                    self.accept()
                else:
                    self.answer(fd)

    def accept(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                conn, _ = self.listener.accept()
                conn.setblocking(False)
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.conns[conn.fileno()] = conn
                self.most = max(self.most, len(self.conns))
                self.poll.register(conn, select.EPOLLIN)

    def answer(self, fd):
        conn = self.conns[fd]
        try:
            if data := conn.recv(1 << 16):
                conn.sendall(data)
                return
        except OSError:
            pass
        del self.conns[fd]
        conn.close()

    def stop(self):
        self.over = True
        self.task.result()
        for conn in list(self.conns.values()):
            conn.close()


def exchange(clients, seed, length):
    """Every client sends its own bytes, then every client compares the echo."""
    for number, client in enumerate(clients):
        client.sendall(Stream(seed + number, length).part(0, length))
    for number, client in enumerate(clients):
        came = compare_some(client, Stream(seed + number, length), 0, length)
        check(came == length, f"flow {number}: {came} of {length} bytes came back")


def all_gone(env, before):
    env.daemon.wait_idle(15)
    spare = 64 if env.daemon.config.method == "splice" else 4  # pipes kept for the next flows
    wait_for(lambda: env.daemon.fds() <= before + spare,
             lambda: f"{env.daemon.fds()} files are open, {before} before the flows", 10)


def warm_up(env, echo):
    """One flow, so that what is opened once for all is open; the number of files then."""
    client = env.connect(echo.address)
    exchange([client], 1, 100)
    client.close()
    if not env.daemon.present:
        return 0
    env.daemon.wait_idle()
    return env.daemon.fds()


def many(env, count):
    echo = Echo(env)
    before = warm_up(env, echo)
    clients = [env.connect(echo.address) for _ in range(count)]
    for turn in range(3):
        exchange(clients, 1000 * turn, 3000)
    if env.daemon.has_ctl:
        listed = len(env.daemon.flows())
        check(listed == count, f"{count} flows are open, {listed} in the list")
    wait_for(lambda: len(echo.conns) == count, lambda: f"{len(echo.conns)} connections at the server")
    for client in clients:
        client.close()
    wait_for(lambda: not echo.conns, lambda: f"{len(echo.conns)} connections left at the server", 15)
    if env.daemon.present:
        all_gone(env, before)
    echo.stop()


def short_lives(env, count):
    """Clients that reset at random points of their short lives, or close, or leave in the middle of the answer."""
    echo, chance = Echo(env), random.Random(7)
    before = warm_up(env, echo)

    def live(number):
        client = env.socket("client")
        client.settimeout(10)
        with contextlib.suppress(ConnectionError, BlockingIOError, BrokenPipeError):
            if chance.random() < 0.1:
                client.setblocking(False)  # leaves before the handshake is over
            client.connect(echo.address)
            for _ in range(chance.randrange(4)):
                client.sendall(Stream(number, MIB).part(0, chance.randrange(1, 20000)))
                if chance.random() < 0.5:
                    client.recv(chance.randrange(1, 5000))
            if chance.random() < 0.3:
                client.shutdown(socket.SHUT_WR)
        if chance.random() < 0.7:
            reset_and_close(client)
        else:
            client.close()

    def lives(first):
        for number in range(first, count, 16):
            live(number)

    env.together(*((lives, first) for first in range(16)))
    last = env.connect(echo.address)
    exchange([last], 3, 50000)
    last.close()
    wait_for(lambda: not echo.conns, lambda: f"{len(echo.conns)} connections left at the server", 15)
    if env.daemon.present:
        all_gone(env, before)
    echo.stop()


def no_files(env, count):
    """More connections than files: some are served, the others wait; no spinning; all are served in the end."""
    env.need_daemon()
    echo = Echo(env)
    before = warm_up(env, echo)
    clients = [env.connect(echo.address) for _ in range(count)]
    for client in clients:
        client.sendall(b"anybody?")
    most = [0]

    def settled():
        last, most[0] = most[0], len(echo.conns)
        return last == most[0] > 10

    wait_for(settled, "no flow is served", 5, 0.3)
    check(len(echo.conns) < count, f"all {count} flows fit: the limit was not reached")
    busy = env.daemon.cpu_seconds()
    time.sleep(1)
    busy = env.daemon.cpu_seconds() - busy
    env.note(f"{len(echo.conns)} of {count} served, {busy:.2f} s CPU in 1 s, {len(env.daemon.log_lines())} log lines")
    check(busy < 0.5, f"the daemon spins: {busy:.2f} s CPU in 1 s")
    check(env.daemon.alive(), "the daemon ended")
    served = 0
    for client in clients:  # each end frees files for one that waits, unless the daemon refused it
        client.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            check(client.recv(8, socket.MSG_WAITALL) == b"anybody?", "a wrong answer, or FIN")
            served += 1
        client.close()
    env.note(f"{served} of {count} served in the end")
    check(served > 40, f"only {served} of {count} were served")
    check(len(env.daemon.log_lines()) < 2 * count + 100, f"{len(env.daemon.log_lines())} log lines")
    all_gone(env, before)
    last = env.connect(echo.address)
    exchange([last], 5, 100000)
    last.close()
    echo.stop()


def refused(env, address):
    """A new connection gets nowhere: refused, reset or dropped by the rules."""
    client = env.socket("client")
    client.settimeout(0.5)
    try:
        client.connect(address)
        client.sendall(b"hello")
        return not client.recv(5)
    except (ConnectionError, TimeoutError):
        return True


def drain(env):
    """SIGTERM: what runs ends in its own time, nothing new begins, then the daemon ends well."""
    env.need_daemon()
    client, server = env.pair()
    listener = env.listen()
    up, down, go_on = Stream(8, 24 * MIB), Stream(9, 24 * MIB), threading.Event()

    def plan(stream):
        for number in range(24):
            if number == 4:
                go_on.wait(20)
            yield MIB
            time.sleep(0.02)

    tasks = [env.spawn(*call) for call in ((send, client, up, plan), (receive, server, up), (send, server, down, plan),
                                           (receive, client, down))]
    env.daemon.process.send_signal(signal.SIGTERM)
    wait_for(lambda: refused(env, listener.getsockname()), "new connections are served", 3, 0.1)
    check(env.daemon.alive(), "the daemon did not wait for its flows")
    go_on.set()
    for task in tasks:
        task.result()
    env.daemon.stop()


def drain_is_bounded(env):
    """A flow that does not end is reset after drain_timeout."""
    env.need_daemon()
    client, server = env.pair()
    ping_pong(client, server, 30, 100)
    started = time.monotonic()
    env.daemon.process.send_signal(signal.SIGTERM)
    expect_reset(client, 5, drain=False)
    expect_reset(server, 1, drain=False)
    took = time.monotonic() - started
    check(0.7 < took < 3, f"reset after {took:.1f} s, drain_timeout is 1 s")
    env.daemon.stop()


def stop_at_once(env):
    """The second SIGTERM does not wait."""
    env.need_daemon()
    client, server = env.pair()
    ping_pong(client, server, 30, 100)
    started, process = time.monotonic(), env.daemon.process
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    check(env.daemon.alive(), "the daemon did not wait for its flow")
    env.daemon.stop()
    check(time.monotonic() - started < 3, "the second SIGTERM waits")


def killed(env):
    """SIGKILL with live flows in it; the next start finds what the last one left, and works."""
    env.need_daemon()
    config = env.daemon.config
    for _ in range(2):
        pairs = [env.pair() for _ in range(20)]
        for client, server in pairs:
            ping_pong(client, server, 30, 100)
        env.daemon.kill()
        for client, _ in pairs:
            expect_reset_or_fin(client)
        started = time.monotonic()
        env.daemon.start(config)
        env.note(f"serves again {time.monotonic() - started:.1f} s after SIGKILL")
        client, server = env.pair()
        up, down = Stream(10, 8 * MIB), Stream(11, 8 * MIB)
        env.together((send, client, up), (receive, server, up), (send, server, down), (receive, client, down))
        client.close()
        server.close()


def expect_reset_or_fin(conn):
    """The kernel closes a killed daemon's sockets: FIN, or RST where something was unread."""
    conn.settimeout(5)
    try:
        check(not conn.recv(1), "data in place of the end")
    except ConnectionResetError:
        pass
    except TimeoutError:
        raise Failure("the connection is still open") from None


def main():
    suite = Suite()
    for name, config in CONFIGS.items():
        suite.add(f"scale/{name}/2000-flows", many, config, 60, count=2000)
        suite.add(f"scale/{name}/1000-short-lives", short_lives, config, 60, count=1000)
        suite.add(f"scale/{name}/drain", drain, config, 30)
        suite.add(f"scale/{name}/killed", killed, config, 40)
        hasty = Config(name, config.enter_after, drain_timeout="1s")
        suite.add(f"scale/{name}/drain-is-bounded", drain_is_bounded, hasty)
        suite.add(f"scale/{name}/stop-at-once", stop_at_once, Config(name, config.enter_after, drain_timeout="30s"))
        suite.add(f"scale/{name}/no-files", no_files, Config(name, config.enter_after, nofile=256), 60, count=300)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
