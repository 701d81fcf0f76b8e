#!/usr/bin/python3
"""Backpressure: a reader that does not read stops its sender, no byte is lost, and memory stays bounded."""
import contextlib
import dataclasses
import os
import pathlib
import re
import select
import sys
import threading
import time

from daemon import Config
from seamtest import Suite
from streams import MIB, Stream, compare_some, receive, send
from verdict import check, wait_for

CONFIGS = {"copy": Config("copy"), "splice": Config("splice"), "sockmap": Config("sockmap", enter_after=0),
           "sockmap-16": Config("sockmap"), "auto": Config("auto")}
ENDLESS = 1 << 40
STALL = 3.0  # seconds without a read
PUSH_LIMIT = 64 * MIB  # what one flow may hold: both sockets of the sender's leg, the relay, both of the reader's


class Push:
    """Sends without bound, until told to end; counts what the sockets took."""

    def __init__(self, env, conn, seed):
        self.stream, self.taken, self.over, self.conn = Stream(seed, ENDLESS), 0, threading.Event(), conn
        self.task = env.spawn(self.run)

    def run(self):
        while not self.over.is_set():
            if select.select([], [self.conn], [], 0.05)[1]:
                with contextlib.suppress(BlockingIOError):  # a socket with a timeout does not block
                    self.taken += os.write(self.conn.fileno(), self.stream.part(self.taken, MIB))

    def end(self):
        self.over.set()
        self.task.result()
        self.conn.shutdown(1)


def stand_still(pushes):
    """Until STALL is over and no sender has got rid of a byte for half a second; what all of them pushed."""
    started, last, since = time.monotonic(), -1, time.monotonic()
    while time.monotonic() - started < STALL or time.monotonic() - since < 0.5:
        total = sum(push.taken for push in pushes)
        for push in pushes:
            check(not push.task.error, f"{push.task.error} after {push.taken / MIB:.1f} MiB")
            check(push.taken < PUSH_LIMIT, f"pushed {push.taken / MIB:.1f} MiB towards a reader that does not read")
        if total != last:
            last, since = total, time.monotonic()
        check(time.monotonic() - started < 3 * STALL, f"senders still go on after {total / MIB:.1f} MiB")
        time.sleep(0.05)
    return last


def read_all(env, *ends):
    """ends: (push, reader), ...: everything that was pushed arrives, then FIN."""
    for push, _ in ends:
        push.end()
    for (push, _), came in zip(ends, env.together(*((compare_some, reader, push.stream) for push, reader in ends))):
        check(came == push.taken, f"{came} of {push.taken} bytes arrived")


def stall(env):
    """Four flows at once: each direction, small and large buffers of the reader."""
    ends = {}
    for sender in ("client", "server"):
        for family, rcvbuf in (("v4", 50000), ("v6", 8 * MIB)):
            client, server = env.pair(family, client_rcvbuf=rcvbuf, server_rcvbuf=rcvbuf)
            one, other = (client, server) if sender == "client" else (server, client)
            ends[f"{sender} to reader of {rcvbuf // 1000} kB"] = Push(env, one, len(ends)), other
    stand_still([push for push, _ in ends.values()])
    env.note("pushed MiB: " + ", ".join(f"{name} {push.taken / MIB:.1f}" for name, (push, _) in ends.items()))
    read_all(env, *ends.values())


def stall_one_way(env):
    """While the server does not read, what it sends arrives."""
    client, server = env.pair(server_rcvbuf=50000)
    push, down = Push(env, client, 2), Stream(3, 64 * MIB)
    started = time.monotonic()
    env.together((send, server, down), (receive, client, down))
    env.note(f"64 MiB the other way in {time.monotonic() - started:.1f} s, pushed {stand_still([push]) / MIB:.1f} MiB")
    read_all(env, (push, server))


def stall_both_ways(env):
    """Nobody reads, both write; then both read."""
    client, server = env.pair(client_rcvbuf=50000, server_rcvbuf=50000)
    pushes = Push(env, client, 4), Push(env, server, 5)
    env.note(f"pushed {stand_still(pushes) / MIB:.1f} MiB")
    read_all(env, (pushes[0], server), (pushes[1], client))


def stall_again(env):
    """Many short stalls: into user space and back, again and again."""
    client, server = env.pair(server_rcvbuf=200000)
    push, came = Push(env, client, 6), 0
    for turn in range(12):
        came += compare_some(server, push.stream, came, (turn % 3 + 1) * 3 * MIB)
        time.sleep(0.1)
    push.end()
    came += compare_some(server, push.stream, came)
    check(came == push.taken, f"{came} of {push.taken} bytes arrived")


def slow_reader(env, per_second=2 * MIB, seconds=4):
    client, server = env.pair(server_rcvbuf=400000)
    push, came, started = Push(env, client, 7), 0, time.monotonic()
    while (now := time.monotonic() - started) < seconds:
        due = int(now * per_second)
        if due > came:
            came += compare_some(server, push.stream, came, due - came)
        time.sleep(0.01)
        check(push.taken - came < PUSH_LIMIT, f"{(push.taken - came) / MIB:.1f} MiB wait for a slow reader")
    env.note(f"{(push.taken - came) / MIB:.1f} MiB waited at the end")
    push.end()
    came += compare_some(server, push.stream, came)
    check(came == push.taken, f"{came} of {push.taken} bytes arrived")


def available():
    return int(re.search(r"MemAvailable:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(encoding="ascii"))[1]) << 10


def stalled_memory(env, flows):
    """Payload that waits costs at most twice its size (an skb is charged by the page), be it in a socket, a pipe
    or in the sockmap's queues; a quarter of a gigabyte is for whatever else the machine does meanwhile."""
    before, lowest = available(), available()
    pairs = [env.pair(server_rcvbuf=50000) for _ in range(flows)]
    pushes = [Push(env, client, 10 + number) for number, (client, _) in enumerate(pairs)]
    watch = env.spawn(stand_still, pushes)
    while watch.is_alive():
        lowest = min(lowest, available())
        time.sleep(0.1)
    pushed, fallen = watch.result(), before - lowest
    env.note(f"{flows} flows pushed {pushed / MIB:.0f} MiB, MemAvailable fell by {fallen / MIB:.0f} MiB")
    read_all(env, *((push, server) for push, (_, server) in zip(pushes, pairs)))
    check(fallen < 2 * pushed + 256 * MIB, f"MemAvailable fell by {fallen / MIB:.0f} MiB for {pushed / MIB:.0f} MiB")
    wait_for(lambda: available() > before - 256 * MIB, "the memory does not come back", 10)


SHAPES = {
    "no-reader": stall,
    "again": stall_again,
    "one-way": stall_one_way,
    "both-ways": stall_both_ways,
    "slow-reader": slow_reader,
}


def main():
    suite = Suite()
    for name, config in CONFIGS.items():
        for number, (shape, func) in enumerate(SHAPES.items()):
            if number < 2 or name in ("copy", "splice", "sockmap"):
                suite.add(f"stall/{name}/{shape}", func, config)
        if name in ("copy", "splice", "sockmap"):
            tight = dataclasses.replace(config, buffer_limit="8MiB", memory_limit="256MiB")
            suite.add(f"stall/{name}/memory", stalled_memory, tight, 40, flows=20)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
