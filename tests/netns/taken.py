"""Flows that tc takes over, each in its way, whose bytes are compared before, meanwhile and after: for cases that
change what lies between the hosts. They run side by side (Env.together())."""
import threading
import time

from daemon import Config
from streams import MIB, Stream, compare_some, expect_end, ping_pong, receive, send
from verdict import check

BUSY_BYTES = 256 << 10
# A stall takes what is busy; what is quiet or talks is taken before it has moved as much.
CONFIG = Config("packet", enter_after=4, relay={"stall_after": "4MiB"})


def is_taken(env, client):
    flow = env.daemon.flow_of(client)
    return flow if flow and flow["state"] in ("parked", "close") else None


def why_not(env, client):
    """In which state it is after all, for a failure."""
    flow = env.daemon.flow_of(client) or {}
    return {key: flow.get(key) for key in ("state", "method", "packet")}


def end(client, server):
    """FIN each way, the client's first."""
    client.shutdown(1)
    expect_end(server, 15)
    server.shutdown(1)
    expect_end(client, 15)


def taken_quiet(env, pair, seconds=10):
    """Talks with pauses until it is taken."""
    deadline = time.monotonic() + seconds
    ping_pong(*pair, 5, 100)
    while not is_taken(env, pair[0]):
        check(time.monotonic() < deadline, f"not taken while quiet: {why_not(env, pair[0])}")
        time.sleep(0.05)
        ping_pong(*pair, 1, 100)


def quiet(env, pair, size=2 * MIB):
    """Taken while it is quiet, then loaded both ways."""
    taken_quiet(env, pair)
    client, server = pair
    up, down = Stream(1, size), Stream(2, size)
    env.together((send, client, up), (receive, server, up), (send, server, down), (receive, client, down))
    check(is_taken(env, client), f"not taken any more: {why_not(env, client)}")


class Load:
    """Both hosts send what they can, until over."""

    def __init__(self, env, pair, ways="both"):
        self.env, self.over, self.sent, self.ways = env, threading.Event(), {}, []
        for number, (source, target) in enumerate((pair, pair[::-1])):
            if ways in ("both", ("up", "down")[number]):
                stream = Stream(3 + number, 1 << 40)
                self.ways.append((number, env.spawn(self.pour, number, source, stream),
                                  env.spawn(compare_some, target, stream)))

    def pour(self, number, source, stream):
        position = 0
        while not self.over.is_set():
            source.sendall(stream.part(position, BUSY_BYTES))
            position += BUSY_BYTES
        source.shutdown(1)
        self.sent[number] = position

    def is_well(self):
        return not any(task.error for way in self.ways for task in way[1:])

    def finish(self):
        """Ends it; how many bytes there were."""
        self.over.set()
        for number, sender, receiver in self.ways:
            sender.result()
            came = receiver.result()
            check(came == self.sent[number], f"{came} of {self.sent[number]} bytes arrived")
        return sum(self.sent.values())


def busy(env, pair, ways="both", need=True, after=0.5, seconds=12):
    """Taken while it is busy, or with need=False maybe not, and busy for a while after that."""
    ping_pong(*pair, 5)
    load, deadline = Load(env, pair, ways), time.monotonic() + seconds
    while (taken := is_taken(env, pair[0])) is None and time.monotonic() < deadline and load.is_well():
        time.sleep(0.1)
    time.sleep(after)
    why = why_not(env, pair[0])
    load.finish()
    check(taken or not need, f"not taken while busy: {why}")
    return taken is not None


def chatter(env, pair, seconds=10, length=300):
    """Requests and answers without a pause: taken by a message that waits."""
    over = threading.Event()

    def talk():
        while not over.is_set():
            ping_pong(*pair, 5, length)

    task, deadline = env.spawn(talk), time.monotonic() + seconds
    try:
        while not (taken := is_taken(env, pair[0])) and time.monotonic() < deadline and task.is_alive():
            time.sleep(0.1)
        time.sleep(0.2)
    finally:
        over.set()
    task.result()
    check(taken, f"not taken while talking: {why_not(env, pair[0])}")
    end(*pair)
