#!/usr/bin/python3
"""relay.method packet: flows that tc takes over at a quiet moment, by a held message and by a stall; their bytes, their
ends, and what is told of them."""
import contextlib
import dataclasses
import errno
import functools
import json
import re
import socket
import sys
import threading
import time

from daemon import Config
from seamtest import Suite
from streams import (MIB, Stream, bursts, compare_some, expect_end, expect_reset, ping_pong, receive, reset,
                     reset_and_close, send, small_writes, whole_blocks)
from verdict import check, wait_for

QUIET = Config("packet", enter_after=4, relay={"stall_after": 0})
STALL = Config("packet", enter_after=4, relay={"stall_after": "4MiB"})
AUTO = Config("auto", enter_after=4, relay={"packet": "auto", "stall_after": "4MiB"})
BOUND = dataclasses.replace(QUIET, route={"auto_detect_interface": True})
IDLE = dataclasses.replace(QUIET, idle_timeout="2s")
HALF = dataclasses.replace(QUIET, half_close_timeout="2s")
CLOSE = dataclasses.replace(QUIET, relay={"stall_after": 0, "on_exit": "close"}, drain_timeout="1s")


def is_parked(env, client):
    flow = env.daemon.flow_of(client)
    return flow if flow and flow["state"] == "parked" else None


def talk_until_taken(env, client, server, ask=None):
    deadline = time.monotonic() + 5
    while not is_parked(env, client):
        check(time.monotonic() < deadline, f"it is not taken: {env.daemon.flow_of(client)}")
        time.sleep(0.03)
        ping_pong(*((server, client) if ask is server else (client, server)), 1, 100)


def warm(env, family="v4", rounds=10):
    """A pair that has been taken over at a quiet moment."""
    client, server = env.pair(family)
    ping_pong(client, server, rounds, 100)
    talk_until_taken(env, client, server)
    return client, server


def warm_many(env, count):
    """The same for many, at once."""
    listener, pairs = env.listen(), []
    for _ in range(count):
        client = env.connect(listener.getsockname())
        pairs.append((client, env.accept(listener)))
    deadline, parked = time.monotonic() + 15, 0
    while parked < count:
        check(time.monotonic() < deadline, f"{parked} of {count} are taken")
        for pair in pairs:
            ping_pong(*pair, 4, 100)
        time.sleep(0.1)
        parked = sum(flow["state"] == "parked" for flow in env.daemon.flows())
    return pairs


def quiet(env, family, plan=whole_blocks, size=24 * MIB):
    """Taken while it is quiet, then loaded both ways, then closed, one side first."""
    client, server = warm(env, family)
    up, down = Stream(1, size), Stream(2, size)
    before = env.daemon.flow_of(client)
    env.together((send, client, up, plan, False), (receive, server, up, False), (send, server, down, plan, False),
                 (receive, client, down, False))
    flow = env.daemon.flow_of(client)
    check(flow["method"] == "packet", f"{flow}")
    for way in ("up", "down"):
        for name in ("bytes", "kernel_bytes"):
            moved = flow[way][name] - before[way][name]
            check(size <= moved < size * 1.1, f"{way}: {moved} of {size} {name} are told")
    client.shutdown(1)
    check(not server.recv(1), "bytes behind the end")
    server.shutdown(1)
    check(not client.recv(1), "bytes behind the end")


def sockets(env, family):
    """Of a taken flow nothing is left in the router but the upstream's port; `flows show` tells when it was taken."""
    client, server = warm(env, family)
    name, port = server.getpeername()[:2]
    wait_for(lambda: len(router_sockets(env, client, server)) == 1, "it has another number of sockets", 2)
    check(router_sockets(env, client, server) == [port], f"{router_sockets(env, client, server)} instead of {port}")
    with env.lab.inside("router"), socket.socket(server.family, socket.SOCK_STREAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((name, port))
        try:
            other.connect(server.getsockname()[:2])
            check(False, "the port of a taken flow was given again")
        except OSError as e:
            check(e.errno == errno.EADDRNOTAVAIL, f"{e}")
    flow = env.daemon.flow_of(client)
    check(0 <= flow["taken_ms"] <= flow["age_ms"], f"{flow}")
    ping_pong(client, server, 5, 1000)
    client.shutdown(1)
    expect_end(server)
    server.shutdown(1)
    expect_end(client)
    wait_for(lambda: not router_sockets(env, client, server), "a socket is left", 8)


def stray(env):
    """What the client sends and tc cannot translate (IPv6 with another header) is answered by RST: nobody has it any
    more, and the client would wait for long."""
    client, server = warm(env, "v6")
    wait_for(lambda: len(router_sockets(env, client, server)) == 1, "it has another number of sockets", 2)
    client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, bytes((0, 0, 1, 4, 0, 0, 0, 0)))
    client.sendall(b"with another header")
    expect_reset(client)
    server.sendall(b"more")  # answered by RST, which ends it
    expect_reset(server)


def router_sockets(env, client, server):
    """The router's own ports of connected sockets of the pair."""
    ends = {"%s:%d" % (f"[{end[0]}]" if ":" in end[0] else end[0], end[1])
            for end in (client.getsockname()[:2], server.getsockname()[:2])}
    lines = [line.replace("[::ffff:", "").split() for line in
             env.lab.run("router", "ss", "-Htn", "state", "connected").splitlines()]
    return [int(line[3].rpartition(":")[2]) for line in lines
            if (line[4].replace("]", "") if "." in line[4] else line[4]) in ends]


def half_close(env, first):
    """The other side goes on after the end of the first."""
    client, server = warm(env)
    one, other = (client, server) if first == "client" else (server, client)
    request, answer = Stream(5, 3 * MIB), Stream(6, 12 * MIB)

    def serve():
        receive(other, request)
        send(other, answer)

    env.together((send, one, request), (receive, one, answer), (serve,))


def resets(env, who):
    client, server = warm(env)
    one, other = (client, server) if who == "client" else (server, client)
    other.sendall(b"unread" * 1000)
    reset(one)
    expect_reset(other)


def pour(conn, stream, over, sent):
    """Sends until it is told that it is over, then FIN."""
    position = 0
    while not over.is_set():
        conn.sendall(stream.part(position, 256 << 10))
        position += 256 << 10
    conn.shutdown(socket.SHUT_WR)
    sent.append(position)


def load(env, family, ways="both", percent=0, flows=1, need=True):
    """Taken while it is busy, and busy for a while after that."""
    pairs, over, calls, ends = [env.pair(family) for _ in range(flows)], threading.Event(), [], []
    for number, (client, server) in enumerate(pairs):
        ping_pong(client, server, 5)
        for source, target, way in ((client, server, "up"), (server, client, "down")):
            if ways in ("both", way):
                stream, sent = Stream(3 + number, 1 << 40), []
                calls.append((pour, source, stream, over, sent))
                ends.append((sent, env.spawn(compare_some, target, stream)))
    taken = {}

    def watch():
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and len(taken) < flows:
            for flow in env.daemon.flows():
                if flow["state"] == "parked":
                    taken.setdefault(flow["id"], sum(flow[way]["bytes"] - flow[way]["kernel_bytes"]
                                                     for way in ("up", "down")))
            time.sleep(0.05)
        time.sleep(0.7)
        over.set()

    env.together((watch,), *calls, at_first=env.lab.loss(percent) if percent else contextlib.nullcontext())
    for sent, task in ends:
        came = task.result()
        check(came == sent[0], f"{came} of {sent[0]} bytes arrived")
    env.note(f"{len(taken)} of {flows} taken after MiB: {[n // MIB for n in taken.values()]}")
    check(len(taken) == flows or not need, f"only {len(taken)} of {flows} were taken")


def chatter(env, flows, seconds=2.5):
    """Requests and answers without a pause: taken by a message that waits."""
    pairs, over = [env.pair() for _ in range(flows)], threading.Event()
    rounds = []

    def talk(client, server):
        done = 0
        while not over.is_set():
            ping_pong(client, server, 20, 300)
            done += 20
        rounds.append(done)

    def watch():
        deadline, count = time.monotonic() + seconds + 8, 0
        started = time.monotonic()
        while time.monotonic() < deadline and (count < flows or time.monotonic() - started < seconds):
            count = sum(flow["state"] == "parked" for flow in env.daemon.flows())
            time.sleep(0.05)
        over.set()
        check(count == flows, f"{count} of {flows} were taken")

    env.together((watch,), *((talk, *pair) for pair in pairs))
    env.note(f"{sum(rounds)} round trips of {flows} flows")


def closed_window(env, early):
    """A reader that reads nothing for seconds: before the take-over, or after it."""
    client, server = env.pair(server_rcvbuf=100000) if early else warm(env)
    size, held = 48 * MIB, threading.Event()
    up = Stream(7, size)
    if early:
        ping_pong(client, server, 5)

    def late():
        taken = compare_some(server, up, 0, 6 * MIB)
        held.wait(4)
        taken += compare_some(server, up, taken)
        check(taken == size, f"ended after {taken} bytes")

    env.together((send, client, up), (late,))


def held(env):
    """Taken by a message that waits: nothing is sent again to the server, whose answer the sockets never see; and the
    flow ends with the address that it stands on, like any other."""
    client, server = env.pair()
    over = threading.Event()

    def talk():
        while not over.is_set():
            ping_pong(client, server, 20, 300)

    task = env.spawn(talk)
    try:
        wait_for(lambda: is_parked(env, client), "it is not taken", 8)
    finally:
        over.set()
    task.result()
    sent = int(env.lab.run("router", "nstat", "-asz", "TcpRetransSegs").split()[-2])
    time.sleep(2)
    again = int(env.lab.run("router", "nstat", "-asz", "TcpRetransSegs").split()[-2]) - sent
    check(not again, f"{again} segments were sent again")
    ping_pong(client, server, 5, 300)
    env.lab.run("router", "ip", "addr", "del", "10.77.2.1/24", "dev", "wan0")
    try:
        expect_reset(client, 4)
    finally:
        env.lab.run("router", "ip", "addr", "add", "10.77.2.1/24", "dev", "wan0")
        env.lab.run("router", "ip", "route", "replace", "10.77.9.9/32", "via", "10.77.2.2", "metric", "10")


def killed(env):
    client, server = warm(env)
    env.daemon.ctl("flows", "kill", str(env.daemon.flow_of(client)["id"]))
    expect_reset(client)
    expect_reset(server)
    check(not env.daemon.flow_of(client), "it is still listed")


def idle(env):
    client, server = warm(env)
    started = time.monotonic()
    expect_reset(client, 6)
    expect_reset(server, 1)
    check(time.monotonic() - started > 1.5, "too early")


def half_closed_idle(env):
    client, server = warm(env)
    client.shutdown(1)
    expect_end(server)
    expect_reset(client, 6)


def on_exit(env, keep):
    client, server = warm(env)
    config, started = env.daemon.config, time.monotonic()
    env.daemon.stop()
    if not keep:
        expect_reset(client)
        expect_reset(server)
        return
    check(time.monotonic() - started < 2, "a parked flow holds up the stop")
    ping_pong(client, server, 5, 1000)
    env.daemon.start(config)
    adopted(env, client)
    ping_pong(client, server, 5, 1000)
    client.shutdown(1)
    expect_end(server)
    server.shutdown(1)
    expect_end(client)


def adopted(env, client):
    flow = env.daemon.flow_of(client)
    check(flow and flow["adopted"] and flow["state"] == "parked" and flow["method"] == "packet", f"{flow}")
    check(flow["outbound"] == "direct" and flow["inbound"] == "in", f"{flow}")
    check(flow["up"]["bytes"] >= 1000 and flow["down"]["bytes"] >= 1000, f"{flow}")
    return flow


def crash(env, flows, size):
    """SIGKILL in the middle of transfers; the next daemon lists them and sees their ends; one of them is killed."""
    pairs = warm_many(env, flows)
    config, streams = env.daemon.config, [Stream(20 + n, size) for n in range(flows)]
    ids = {flow["id"] for flow in env.daemon.flows() if flow["state"] == "parked"}
    spare = warm(env)

    def restart():
        env.daemon.kill()
        time.sleep(0.3)
        env.daemon.start(config)

    def slow(stream):
        for number, length in enumerate(whole_blocks(stream)):
            if number % 2:
                time.sleep(1.5 / (size / MIB / 2))
            yield length

    env.together((restart,), *((send, client, stream, slow) for (client, _), stream in zip(pairs, streams)),
                 *((receive, server, stream) for (_, server), stream in zip(pairs, streams)))
    listed = {flow["id"] for flow in env.daemon.flows() if flow["adopted"]}
    check(ids <= listed, f"{len(ids - listed)} of {flows} are not listed")
    entry = adopted(env, spare[0])
    client, server = warm(env)  # a new one beside them
    check(env.daemon.flow_of(client)["id"] not in listed, "an id is given twice")
    env.daemon.ctl("flows", "kill", str(entry["id"]))
    for conn in spare:
        expect_reset(conn)
    for conn in (client, server, *(conn for pair in pairs for conn in pair)):
        conn.close()
    env.daemon.wait_idle(8)


@contextlib.contextmanager
def server_setting(env, name, value):
    if name == "mtu":
        for side in ("router", "server"):
            env.lab.run(side, "ip", "link", "set", "wan0", "mtu", str(value))
    else:
        was = env.lab.run("server", "sysctl", "-n", name).strip()
        env.lab.run("server", "sysctl", "-q", "-w", f"{name}={value}")
    try:
        yield
    finally:
        if name == "mtu":
            for side in ("router", "server"):
                env.lab.run(side, "ip", "link", "set", "wan0", "mtu", "1500")
        else:
            env.lab.run("server", "sysctl", "-q", "-w", f"{name}={was}")


def refused(env, setting, value, reason):
    """The two connections differ: never taken, the sockmap carries it, and each is told why."""
    env.daemon.ctl("log", "debug")
    with server_setting(env, setting, value):
        client, server = env.pair()
    for _ in range(100):
        ping_pong(client, server, 2, 100)
        time.sleep(0.02)
        flow = env.daemon.flow_of(client)
        if flow["packet"]:
            break
    check(flow["packet"] == reason, f"{flow}")
    check(any(f"packet: not taken: {reason}" in line for line in env.daemon.log_lines()), "not in the log")
    check(re.search(f'seam_packet_refused_total{{reason="{reason}"}} [1-9]', env.daemon.ctl("metrics")), "not in the metrics")
    env.daemon.ctl("log", "info")
    ping_pong(client, server, 20, 100)
    flow = env.daemon.flow_of(client)
    check(flow["method"] == ("sockmap" if env.daemon.config.method == "auto" else "copy"), f"{flow}")
    env.together((send, client, Stream(8, MIB)), (receive, server, Stream(8, MIB)))


def other_way(env):
    """The route of the upstream changes: the flow follows it."""
    client, server = warm(env)
    env.lab.run("router", "ip", "route", "del", "10.77.9.9/32", "metric", "10")
    try:
        time.sleep(0.6)
        env.lab.run("router", "ip", "link", "set", "wan0", "mtu", "1500")
        before = packets_out(env, "wan1")
        for _ in range(30):
            ping_pong(client, server, 20, 500)
            if packets_out(env, "wan1") > before + 15:
                break
            time.sleep(0.5)
        check(packets_out(env, "wan1") > before + 15, "it does not follow the route")
    finally:
        env.lab.run("router", "ip", "route", "add", "10.77.9.9/32", "via", "10.77.2.2", "metric", "10")


def better_way(env, family):
    """A better route leads by another interface: what is bound to its own stays there, and all goes on."""
    client, server = env.pair(family)
    ping_pong(client, server, 10, 100)
    talk_until_taken(env, client, server, ask=server)  # a bound socket is found by packets of its interface only
    where = {"v4": "10.77.9.9", "v6": "fd77:9::9"}[family]
    better = (where, "via", {"v4": "10.77.3.2", "v6": "fd77:3::2"}[family], "dev", "wan1", "metric", "5")
    env.lab.run("router", "ip", "route", "add", *better)
    try:
        before = packets_out(env, "wan0")
        for _ in range(3):
            ping_pong(client, server, 20, 500)
            time.sleep(0.5)
        check(packets_out(env, "wan0") >= before + 60, "it has left its interface")
    finally:
        env.lab.run("router", "ip", "route", "del", *better)


def other_gateway(env, family, adopt):
    """The gateway changes, the interface does not: the flow follows it, also one of an earlier daemon. Both are
    addresses of the server; then the old one is nobody's."""
    client, server = warm(env, family)
    if adopt:
        config = env.daemon.config
        env.daemon.stop()
        env.daemon.start(config)
        adopted(env, client)
    where, old, new = {"v4": ("10.77.9.9", "10.77.2.2", "10.77.2.99"),
                       "v6": ("fd77:9::9", "fd77:2::2", "fd77:2::99")}[family]
    ip = functools.partial(env.lab.run, "router", "ip")
    mac = json.loads(env.lab.run("server", "ip", "-j", "link", "show", "wan0"))[0]["address"]
    ip("neigh", "replace", new, "lladdr", mac, "dev", "wan0", "nud", "permanent")
    ip("route", "replace", where, "via", new, "dev", "wan0", "metric", "10")
    try:
        deadline = time.monotonic() + 7
        while time.monotonic() < deadline:
            ping_pong(client, server, 2, 500)
            time.sleep(0.2)
        ip("neigh", "replace", old, "lladdr", "02:00:00:00:00:99", "dev", "wan0", "nud", "permanent")
        ping_pong(client, server, 20, 500)
        client.shutdown(1)
        expect_end(server)
        server.shutdown(1)
        expect_end(client)
    finally:
        ip("route", "replace", where, "via", old, "dev", "wan0", "metric", "10")
        for address in (old, new):
            ip("neigh", "del", address, "dev", "wan0")


def packets_out(env, interface):
    return json.loads(env.lab.run("router", "ip", "-j", "-s", "link", "show", interface))[0]["stats64"]["tx"]["packets"]


def gone(env):
    """The upstream's own address leaves the router."""
    client, server = warm(env)
    env.lab.run("router", "ip", "addr", "del", "10.77.2.1/24", "dev", "wan0")
    try:
        expect_reset(client, 4)
    finally:
        env.lab.run("router", "ip", "addr", "add", "10.77.2.1/24", "dev", "wan0")
        env.lab.run("router", "ip", "route", "replace", "10.77.9.9/32", "via", "10.77.2.2", "metric", "10")
    server.close()


def main():
    suite = Suite()
    for family in ("v4", "v6"):
        suite.add(f"quiet/{family}", quiet, QUIET, family=family)
        suite.add(f"quiet/{family}/small", quiet, QUIET, family=family, plan=small_writes, size=4 * MIB)
        suite.add(f"quiet/{family}/bursts", quiet, QUIET, family=family, plan=bursts, size=12 * MIB)
        for ways in ("both", "up", "down"):
            suite.add(f"load/{family}/{ways}", load, STALL, family=family, ways=ways)
    for percent in (1, 5):
        suite.add(f"loss/{percent}", load, STALL, 60, family="v4", percent=percent, flows=4, need=False)
    suite.add("chatter/1", chatter, QUIET, flows=1)
    suite.add("chatter/20", chatter, QUIET, flows=20)
    for side in ("client", "server"):
        suite.add(f"half-close/{side}", half_close, QUIET, first=side)
        suite.add(f"reset/{side}", resets, QUIET, who=side)
    suite.add("window/after", closed_window, QUIET, early=False)
    suite.add("window/before", closed_window, STALL, early=True)
    suite.add("held", held, QUIET)
    for family in ("v4", "v6"):
        suite.add(f"sockets/{family}", sockets, QUIET, family=family)
    suite.add("stray", stray, QUIET)
    suite.add("kill", killed, QUIET)
    suite.add("other-way", other_way, QUIET, 30)
    for family in ("v4", "v6"):
        suite.add(f"better-way/{family}", better_way, BOUND, family=family)
        for adopt in (False, True):
            suite.add(f"other-gateway/{family}/{'adopted' if adopt else 'own'}", other_gateway, QUIET, 30, family=family,
                      adopt=adopt)
    suite.add("address-gone", gone, QUIET)
    suite.add("idle", idle, IDLE)
    suite.add("half-closed-idle", half_closed_idle, HALF)
    suite.add("exit/keep", on_exit, QUIET, keep=True)
    suite.add("exit/close", on_exit, CLOSE, keep=False)
    suite.add("crash", crash, QUIET, 60, flows=200, size=4 * MIB)
    for name, config in (("packet", QUIET), ("auto", AUTO)):
        suite.add(f"refused/timestamps/{name}", refused, config, setting="net.ipv4.tcp_timestamps", value=0,
                  reason="timestamps")
        suite.add(f"refused/mss/{name}", refused, config, setting="mtu", value=1400, reason="mss")
        suite.add(f"refused/sack/{name}", refused, config, setting="net.ipv4.tcp_sack", value=0, reason="sack")
    for ways in ("both", "down"):
        suite.add(f"auto/{ways}", load, AUTO, family="v4", ways=ways)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
