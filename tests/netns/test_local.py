#!/usr/bin/python3
"""Clients on the router itself, relay.local_clients on: what they send goes straight to the upstream, and they
must not notice. The kernel may be one whose self-test says that they would (FIONREAD); relay.force takes the risk,
and without it the daemon has to refuse."""
import array
import dataclasses
import fcntl
import http.server
import json
import os
import select
import signal
import socket
import sys
import tempfile
import termios
import threading
import time

from daemon import Config
from seamtest import Suite
from streams import (MIB, Stream, compare_some, expect_end, expect_reset, expect_silence, ping_pong, receive, reset,
                     send, small_writes, whole_blocks)
from verdict import Skip, check, wait_for

LOCAL_BUG = "FIONREAD"


@dataclasses.dataclass(frozen=True)
class LocalConfig(Config):
    method: str = "sockmap"
    enter_after: int = 0
    local_clients: bool = True
    force: bool = True

    def text(self, control):
        config = json.loads(super().text(control))
        config["relay"] |= {"local_clients": self.local_clients, "force": self.force}
        return json.dumps(config, indent=1)


ON, LATE = LocalConfig(), LocalConfig(enter_after=16)
OFF, CAREFUL = LocalConfig(local_clients=False), LocalConfig(force=False)


def intercept_output(env):
    """The daemon's own installation of the rules is for the LAN only."""
    env.need_ctl()
    env.lab.tool("rules", "nft", "install", "--output")


def pair(env, family="v4", server_rcvbuf=0, blocking=False):
    """Both ends of a connection that the router itself opens; time-outs make a Python socket non-blocking."""
    intercept_output(env)
    listener = env.listen(family, server_rcvbuf)
    client = env.socket("router", family)
    if blocking:
        client.settimeout(None)
    client.connect(listener.getsockname()[:2])
    server = env.accept(listener)
    listener.close()
    return client, server


def up(env, client):
    """What the daemon says of the client's direction."""
    return wait_for(lambda: env.daemon.flow_of(client), "no flow")["up"]


def check_local(env, client, least=1):
    told = up(env, client)
    check(told["gate"] == "local", f"gate is {told['gate']}")
    check(told["kernel_bytes"] >= least, f"{told['kernel_bytes']} bytes went straight, not {least}")
    return told


def settle(env, client, server):
    """Until the flow has entered the sockmap: then nothing is on its way over loopback."""
    ping_pong(client, server, 24, 100)
    check_local(env, client)


# Bytes ------------------------------------------------------------------------------------------------

def duplex(env, family, plan, size):
    client, server = pair(env, family)
    one, two = Stream(1, size), Stream(2, size)
    settle(env, client, server)
    env.together((send, client, one, plan, False), (receive, server, one, False),
                 (send, server, two, whole_blocks, False), (receive, client, two, False))
    told = check_local(env, client)
    env.note(f"{100 * told['kernel_bytes'] // told['bytes']} % went straight")


def slow_server(env, family):
    """Messages that fit and messages that do not, in turn: the ones over loopback are not overtaken."""
    client, server = pair(env, family, server_rcvbuf=50000)
    stream = Stream(3, 24 * MIB)
    settle(env, client, server)
    env.together((send, client, stream, sizes_in_turn, False), (receive_by_fits, server, stream))
    check_local(env, client, 2000)


def sizes_in_turn(stream):
    """Small ones, and one that seldom fits, behind which the next must wait; pauses, so that it drains."""
    left, turn = stream.size, 0
    while left:
        length, turn = min((1, 900, 12000, 70000)[turn % 4], left), turn + 1
        left -= length
        if turn % 40 == 0:
            time.sleep(0.02)
        yield length


def receive_by_fits(sock, stream):
    position = 0
    while position < stream.size:
        if position % 7 == 0:
            time.sleep(0.002)
        data = sock.recv(1 << 16)
        check(data, f"end after {position} of {stream.size} bytes")
        stream.compare(position, data)
        position += len(data)


def lossy(env, family, percent):
    """Loss on loopback as well: segments come again, and joined, while other messages go straight."""
    pairs = [pair(env, family, server_rcvbuf=50000) for _ in range(6)]
    for client, server in pairs:
        settle(env, client, server)
    calls = []
    for number, (client, server) in enumerate(pairs):
        one, two = Stream(20 + number, 3 * MIB), Stream(30 + number, MIB)
        calls += [(send, client, one, sizes_in_turn, False), (receive_by_fits, server, one),
                  (send, server, two, small_writes, False), (receive, client, two, False)]
    with env.lab.loss(percent):
        env.together(*calls)
    for client, _ in pairs:
        check_local(env, client, 2402)


def threads(env):
    """Two threads send at once, a message each in turn; which goes straight is up to the moment."""
    client, server = pair(env, server_rcvbuf=50000)
    settle(env, client, server)
    stream, lock, position = Stream(4, 8 * MIB), threading.Lock(), [0]
    plan = sizes_in_turn(stream)

    def worker():
        while True:
            with lock:
                size = next(plan, 0)
                client.sendall(stream.part(position[0], size))
                position[0] += size
            if not size:
                return

    env.together((worker,), (worker,), (receive_by_fits, server, stream))
    check_local(env, client, 2000)


def many(env, count):
    """Connect, a kilobyte each way, close: registrations come and go with the slots."""
    intercept_output(env)
    listener = env.listen()

    def serve():
        for _ in range(count):
            conn = env.accept(listener)
            conn.settimeout(None)
            got = conn.recv(1024, socket.MSG_WAITALL)
            conn.sendall(got)
            conn.close()

    def call():
        stream = Stream(5, 1024)
        for turn in range(count // 4):
            client = env.socket("router")
            client.connect(listener.getsockname()[:2])
            for part in range(0, 1024, 256):
                client.sendall(stream.part(part, 256))
            compare_some(client, stream)
            if turn % 3 == 0:
                reset(client)
            client.close()

    env.together((serve,), *[(call,)] * 4)


# Ends -------------------------------------------------------------------------------------------------

def half_close(env, sender):
    client, server = pair(env)
    settle(env, client, server)
    one, other = (client, server) if sender == "client" else (server, client)
    request, answer = Stream(6, 300000), Stream(7, 4 * MIB)
    env.together((send, one, request), (receive, other, request))
    expect_silence(one, 0.3)
    env.together((send, other, answer), (receive, one, answer))


def reset_by(env, sender):
    client, server = pair(env)
    settle(env, client, server)
    one, other = (client, server) if sender == "client" else (server, client)
    reset(one)
    expect_reset(other)


def daemon_killed(env):
    """The client is an ordinary socket again, whose peer is gone."""
    client, server = pair(env)
    settle(env, client, server)
    env.daemon.kill()
    expect_end(client)
    client.sendall(b"x")
    wait_for(lambda: client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "no RST for what came after")


# What a client sees -----------------------------------------------------------------------------------

def stalled_server(env):
    """send() says EAGAIN, and then poll() must not say POLLOUT: the client would spin."""
    client, server = pair(env, server_rcvbuf=20000)
    settle(env, client, server)
    client.setblocking(False)
    block, taken, poll, quiet = bytes(30000), 0, select.poll(), 0
    poll.register(client, select.POLLOUT)
    end = time.monotonic() + 20
    while quiet < 3 and time.monotonic() < end:
        if not poll.poll(200):
            quiet += 1
            continue
        try:
            taken, quiet = taken + client.send(block), 0
        except BlockingIOError:
            quiet = 0
    check(quiet == 3, f"POLLOUT comes for ever after {taken} bytes")
    check(taken < 64 * MIB, f"{taken} bytes were taken for a server that does not read")
    began = time.thread_time()
    check(not poll.poll(500), "POLLOUT without room")
    check(time.thread_time() - began < 0.1, "poll() does not wait")
    env.note(f"{taken / MIB:.1f} MiB were taken")
    client.settimeout(20)


def blocking_client(env):
    """Its recv() would return EAGAIN for a signal: it is left alone."""
    client, server = pair(env, blocking=True)
    ping_pong(client, server, 24, 100)
    check(up(env, client)["gate"] != "local", "a blocking socket was taken")
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.siginterrupt(signal.SIGUSR1, False)
    got = env.spawn(os.read, client.fileno(), 10)
    time.sleep(0.2)
    signal.pthread_kill(got.ident, signal.SIGUSR1)
    time.sleep(0.2)
    server.sendall(b"x")
    check(got.result() == b"x", "recv() was disturbed by a signal")
    signal.signal(signal.SIGUSR1, before)


def splice_out(env):
    """splice(2) from the client's socket into a pipe."""
    client, server = pair(env)
    settle(env, client, server)
    stream, position = Stream(8, 4 * MIB), 0
    sender = env.spawn(send, server, stream)
    read, write = os.pipe()
    try:
        while position < stream.size:
            select.select([client], [], [], 10)
            moved = os.splice(client.fileno(), write, 65536)
            check(moved, f"end after {position} bytes")
            data = os.read(read, moved)
            stream.compare(position, data)
            position += len(data)
    finally:
        os.close(read)
        os.close(write)
    sender.result()


def sendfile(env):
    """sendfile(2), which is splice(2), into the client's socket."""
    client, server = pair(env)
    settle(env, client, server)
    stream = Stream(9, 6 * MIB)
    with tempfile.TemporaryFile() as file:
        for position in range(0, stream.size, MIB):
            file.write(stream.part(position, min(MIB, stream.size - position)))
        file.flush()
        file.seek(0)
        sender = env.spawn(client.sendfile, file)
        receive(server, stream, False)
        sender.result()
    check_local(env, client)


def fionread(env):
    client, server = pair(env)
    settle(env, client, server)
    server.sendall(b"hello")
    select.select([client], [], [], 5)
    waiting = array.array("i", [-1])
    fcntl.ioctl(client, termios.FIONREAD, waiting)
    if waiting[0] == 0 and any(LOCAL_BUG in line for line in env.daemon.log_lines()):
        raise Skip("the kernel says 0, as the self-test found")
    check(waiting[0] == 5, f"FIONREAD says {waiting[0]}")


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        self.server.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.got[-1])))
        self.end_headers()
        self.wfile.write(self.server.got[-1])

    def log_message(self, *_):
        pass


def curl(env, family):
    """An unmodified client: it uploads twice over one connection, and gets back what it sent."""
    intercept_output(env)
    listener = env.listen(family)
    listener.settimeout(None)
    server = http.server.HTTPServer(("", 0), Answer, bind_and_activate=False)
    server.socket.close()
    server.socket, server.got = listener, []
    env.spawn(server.serve_forever)
    data = bytes(Stream(10, 5 * MIB).part(0, MIB)) * 5
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}/" if family == "v6" else f"http://{host}:{port}/"
    options = ["-sS", "--max-time", "15", "-H", "Expect:", "-T"]
    try:
        with tempfile.NamedTemporaryFile() as file, tempfile.NamedTemporaryFile() as out:
            file.write(data)
            file.flush()
            upload = [*options, file.name, "-o", out.name, url]
            env.lab.run("router", "curl", *upload, "--next", *upload)
            check(out.read() == data, "the answer is not what was sent")
    finally:
        server.shutdown()
    check(server.got == [data, data], "the server got something else")


# Configuration ----------------------------------------------------------------------------------------

def off(env):
    client, server = pair(env)
    ping_pong(client, server, 24, 100)
    check(up(env, client)["gate"] == "open", f"gate is {up(env, client)['gate']}")


def forwarded(env):
    """A client on the LAN is none of the router's."""
    intercept_output(env)
    client, server = env.pair()
    ping_pong(client, server, 24, 100)
    check(up(env, client)["gate"] == "open", f"gate is {up(env, client)['gate']}")


def careful(env):
    """Without force the self-test decides, and says why not."""
    client, server = pair(env)
    ping_pong(client, server, 24, 100)
    refused = [line for line in env.daemon.log_lines() if "relay.local_clients is refused: self-test" in line]
    check((up(env, client)["gate"] == "local") != bool(refused), f"gate {up(env, client)['gate']}, log says {refused}")
    if refused:
        env.note(refused[0])


def main():
    suite = Suite()
    for name, config in (("start", ON), ("late", LATE)):
        for family in ("v4", "v6"):
            suite.add(f"local/{name}/{family}/large", duplex, config, family=family, plan=whole_blocks, size=48 * MIB)
            suite.add(f"local/{name}/{family}/small", duplex, config, family=family, plan=small_writes, size=8 * MIB)
            suite.add(f"local/{name}/{family}/slow-server", slow_server, config, 60, family=family)
            suite.add(f"local/{name}/{family}/lossy", lossy, config, 60, family=family, percent=2)
            suite.add(f"local/{name}/{family}/curl", curl, config, family=family)
    for sender in ("client", "server"):
        suite.add(f"local/half-close/{sender}", half_close, ON, sender=sender)
        suite.add(f"local/reset/{sender}", reset_by, ON, sender=sender)
    for func in (threads, stalled_server, blocking_client, splice_out, sendfile, fionread, forwarded):
        suite.add(f"local/{func.__name__.replace('_', '-')}", func, ON, 60)
    suite.add("local/many", many, ON, 60, count=1000)
    suite.add("local/off", off, OFF)
    suite.add("local/careful", careful, CAREFUL)
    suite.add("local/daemon-killed", daemon_killed, dataclasses.replace(ON, drain_timeout="1s"))
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
