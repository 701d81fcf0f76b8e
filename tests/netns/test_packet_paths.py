#!/usr/bin/python3
"""relay.method packet over all kinds of paths: flows that are taken over by each of the three ways on cables that lose,
repeat, delay and reorder, on devices without and with offloads, with all kinds of options; every byte is compared.

SEAM_PATHS=all runs the whole matrix, which takes some minutes."""
import contextlib
import os
import re
import shutil
import socket
import sys
import time

import taken
from link import Link
from seamtest import Suite
from streams import MIB, Stream, compare_some, expect_end, expect_reset, ping_pong, receive, reset, send
from verdict import Skip, check, wait_for

ALL = os.environ.get("SEAM_PATHS") == "all"
LOSS = (0, 1, 5)


def ways(env, families=("v4",), need=True, size=2 * MIB, after=0.5):
    """A flow of each kind and family, side by side; none may pause for long."""
    calls = []
    for family in families:
        quiet, busy, chatter = pairs = [env.pair(family) for _ in range(3)]
        for sock in (sock for pair in pairs for sock in pair):
            sock.settimeout(4 if need else 15)  # timers back off where much is lost
        calls += [(taken.quiet, env, quiet, size), (taken.busy, env, busy, "both", need, after),
                  (taken.chatter, env, chatter)]
    env.together(*calls)


@contextlib.contextmanager
def cables(env, **settings):
    """@settings: of the cable "lan" and "wan", None: as ever. Flows must not outlive it."""
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(Link(env.lab, which, **setting)) for which, setting in settings.items()
                 if setting is not None]
        try:
            yield links
            env.close()
            env.daemon.wait_idle(10)
        finally:
            env.close()
    for link in links:
        env.note(f"{link.ends[0][1]}: {link.counts}")


def bad(env, lan, wan, **more):
    with cables(env, lan=lan, wan=wan):
        ways(env, **more)


def slow_out(env, way, **cable):
    """The way out is slower than the way in, so that all buffers are full: taken while it is busy all the same."""
    with cables(env, **cable):
        pair = env.pair()
        taken.busy(env, pair, way)


@contextlib.contextmanager
def settings(env, **per_side):
    """{side: {sysctl: value}} for a while."""
    before = []
    try:
        for side, values in per_side.items():
            for name, value in values.items():
                before.append((side, name, env.lab.run(side, "sysctl", "-n", name).strip()))
                env.lab.run(side, "sysctl", "-q", "-w", f"{name}={value}")
        yield
    finally:
        for side, name, value in reversed(before):
            env.lab.run(side, "sysctl", "-q", "-w", f"{name}={value}")


def options(env, families=("v4",), **values):
    """Both hosts and the router alike."""
    with settings(env, **{side: {f"net.ipv4.{name}": value for name, value in values.items()}
                          for side in ("client", "router", "server")}):
        ways(env, families)


def scales(sock):
    """The window scales: of what is sent to this socket's host, and of its own."""
    both = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[6]
    return both & 15, both >> 4


def rmem(scale):
    """The receive buffer from which the kernel computes this scale; net.core.rmem_max may make it larger."""
    return 32768 << scale if scale > 2 else 131072


def window_scales(env, client, router, server):
    """Each with a scale of its own; scale 0: a buffer that needs none, or no scaling at all (None)."""
    def values(scale):
        if scale is None:
            return {"net.ipv4.tcp_window_scaling": 0}
        return {"net.ipv4.tcp_rmem": f"4096 131072 {rmem(scale)}"}

    with settings(env, client=values(client), router=values(router), server=values(server)):
        pairs = [env.pair(client_rcvbuf=30000 if client == 0 else 0, server_rcvbuf=30000 if server == 0 else 0)
                 for _ in range(3)]
        for pair in pairs:
            for sock, scale in zip(pair, (client, server)):
                want = (0, 0) if None in (scale, router) else (router, scale)
                check(scales(sock) == want, f"scales {scales(sock)}, not {want}")
        env.together((taken.quiet, env, pairs[0]), (taken.busy, env, pairs[1]), (taken.chatter, env, pairs[2]))


OFFLOADS = ("gro", "gso", "tso", "tx", "rx", "rx-gro-list", "rx-udp-gro-forwarding")
ENDS = (("client", "lan0"), ("router", "lan0"), ("router", "wan0"), ("server", "wan0"))


@contextlib.contextmanager
def offloads(env, interfaces, words):
    """ethtool -K for a while."""
    if not shutil.which("ethtool"):
        raise Skip("no ethtool")
    names = {"gro": "generic-receive-offload", "gso": "generic-segmentation-offload", "tso": "tcp-segmentation-offload",
             "tx": "tx-checksumming", "rx": "rx-checksumming"}
    before = []
    try:
        for side, interface in interfaces:
            told = env.lab.run(side, "ethtool", "-k", interface)
            is_on = dict(re.findall(r"^\s*([a-z0-9-]+): (on|off)", told, re.M))
            before.append((side, interface, {word: is_on[names.get(word, word)] for word in OFFLOADS}))
            env.lab.run(side, "ethtool", "-K", interface, *words.split())
        yield
    finally:
        for side, interface, values in before:
            env.lab.run(side, "ethtool", "-K", interface, *(word for item in values.items() for word in item))


def without(env, interfaces, words, families=("v4", "v6")):
    with offloads(env, interfaces, words):
        ways(env, families)


def strung(env, family):
    """GRO only strings segments together where no socket wants them (6.10): each keeps a header of its own, and the way
    out has no use for that. Were they not translated, they would be sent again one by one."""
    size = 16 * MIB
    with Link(env.lab, "wan"), offloads(env, ENDS[:1], "tso off gso off"), \
            offloads(env, ENDS[1:2], "gro on rx-gro-list on"):
        pair = env.pair(family)
        taken.taken_quiet(env, pair)
        name = pair[0].getsockname()[0]
        wait_for(lambda: name not in env.lab.run("router", "ss", "-Htn", "state", "established"), "its socket is left", 3)
        before = retransmissions(env)
        env.together((send, pair[0], Stream(1, size)), (receive, pair[1], Stream(1, size)))
        again = retransmissions(env) - before
        check(again < 100, f"{again} segments were sent again")


def retransmissions(env):
    return int(env.lab.run("client", "nstat", "-asz", "TcpRetransSegs").split()[-2])


@contextlib.contextmanager
def mtus(env, lan, wan):
    """Of both ends of each cable."""
    try:
        for (side, interface), mtu in zip(ENDS, (lan, lan, wan, wan)):
            env.lab.run(side, "ip", "link", "set", interface, "mtu", str(mtu))
        yield
    finally:
        for side, interface in ENDS:
            env.lab.run(side, "ip", "link", "set", interface, "mtu", "1500")


def frames(env, lan, wan, family):
    """Byte-exact whoever carries it; what is not taken says why."""
    with mtus(env, lan, wan):
        pair = env.pair(family)
        ping_pong(*pair, 5, 100)
        deadline = time.monotonic() + 5
        while not (done := taken.is_taken(env, pair[0])) and not env.daemon.flow_of(pair[0])["packet"]:
            check(time.monotonic() < deadline, f"neither taken nor refused: {taken.why_not(env, pair[0])}")
            ping_pong(*pair, 1, 100)
            time.sleep(0.05)
        why = taken.why_not(env, pair[0])["packet"]
        check(done or (lan != wan and why == "mss"), f"not taken: {why}")
        env.note("taken" if done else f"refused: {why}")
        up, down = Stream(1, 8 * MIB), Stream(2, 8 * MIB)
        env.together((send, pair[0], up), (receive, pair[1], up), (send, pair[1], down), (receive, pair[0], down))


def server_first(env, families=("v4", "v6")):
    env.together(*((server_speaks, env, family) for family in families))


def server_speaks(env, family):
    """The server speaks first, and asks; the client only answers."""
    client, server = env.pair(family)
    ping_pong(server, client, 5, 200)
    deadline = time.monotonic() + 8
    while not taken.is_taken(env, client):
        check(time.monotonic() < deadline, f"not taken: {taken.why_not(env, client)}")
        time.sleep(0.03)
        ping_pong(server, client, 1, 200)
    down = Stream(9, 8 * MIB)
    env.together((send, server, down), (receive, client, down))
    client.shutdown(1)
    expect_end(server)


def half_closed(env, first):
    """One side ends, the other goes on."""
    client, server = env.pair()
    taken.taken_quiet(env, (client, server))
    one, other = (client, server) if first == "client" else (server, client)
    request, answer = Stream(5, MIB // 2), Stream(6, MIB)

    def serve():
        receive(other, request)
        send(other, answer)

    env.together((send, one, request), (receive, one, answer), (serve,))


def resets(env, who, busy):
    """RST while nothing moves, or in the middle of bytes."""
    client, server = env.pair()
    taken.taken_quiet(env, (client, server))
    one, other = (client, server) if who == "client" else (server, client)
    if busy:
        env.spawn(send, one, Stream(7, 1 << 40))  # which fails in the end
        compare_some(other, Stream(7, 1 << 40), 0, MIB)
    reset(one)
    expect_reset(other)


def ends(env, loss):
    """FIN and RST from each side, over bad cables; a RST that is lost is not sent again."""
    setting = {"delay_ms": 1, "loss": loss, "reorder": 5, "duplicate": 3}
    sides = ("client", "server")
    with cables(env, lan=setting, wan=setting):
        env.together(*((half_closed, env, side) for side in sides),
                     *((resets, env, side, busy) for side in sides for busy in (False, True) if not loss))


def refused_first(env, attempts):
    """Packets that nothing can forward (TTL 1) make one attempt after another fail; then it is taken all the same."""
    client, server = env.pair()
    client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    before, deadline = missed(env), time.monotonic() + 20
    while missed(env) < before + attempts:
        check(time.monotonic() < deadline, f"only {missed(env) - before} attempts: {taken.why_not(env, client)}")
        ping_pong(client, server, 1, 100)
        time.sleep(0.05)
    check(not taken.is_taken(env, client), "taken by a packet that cannot be forwarded")
    client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64)
    taken.quiet(env, (client, server))


def missed(env):
    """Attempts, since the daemon's start."""
    found = re.search(r"^seam_packet_missed\S*\s+(\d+)", env.daemon.ctl("metrics"), re.M)
    return int(found[1]) if found else 0


def closed_window(env, silent):
    """A reader that reads nothing for long, one each way; the sender asks again and again, then all arrives."""
    calls = []
    for number in (0, 1):
        pair = env.pair()
        taken.taken_quiet(env, pair)
        source, target = pair if number == 0 else pair[::-1]
        target.settimeout(silent + 20)
        source.settimeout(silent + 20)
        calls += [(send, source, Stream(7, 48 * MIB)), (late, target, Stream(7, 48 * MIB), silent)]
    env.together(*calls)


def late(target, stream, seconds):
    time.sleep(seconds)
    receive(target, stream)


def wrap(env, mib):
    """More bytes than there are sequence numbers, with SEAM_PATHS=all each way, through flows that were taken."""
    started, both = time.monotonic(), (0, 1) if ALL else (0,)
    for number in both:
        pair = env.pair()
        taken.taken_quiet(env, pair)
        stream = Stream(11 + number, mib * MIB)
        source, target = pair if number == 0 else pair[::-1]
        env.together((send, source, stream), (receive, target, stream))
        check(taken.is_taken(env, pair[0]), "not taken any more")
    env.note(f"{len(both) * mib * 8.389 / (time.monotonic() - started):.0f} Mbit/s")


def tun(env):
    """An uplink without Ethernet headers, and a bad one."""
    with cables(env, wan={"tun": True, "delay_ms": 1, "loss": 0.5, "reorder": 2, "duplicate": 2}):
        ways(env, ("v4", "v6"))


def matrix(suite):
    for loss in LOSS:
        for reorder, duplicate in ((0, 0), (5, 0), (0, 3), (5, 3)):
            for where in ("lan", "wan", "both"):
                few = (loss, reorder, duplicate, where) in ((0, 5, 3, "both"), (1, 5, 3, "wan"), (5, 5, 3, "lan"))
                if not few and not ALL:
                    continue
                setting = {"delay_ms": 0.5, "loss": loss, "reorder": reorder, "duplicate": duplicate}
                suite.add(f"cable/{loss}-{reorder}-{duplicate}/{where}", bad, taken.CONFIG, 60,
                          lan=setting if where != "wan" else None, wan=setting if where != "lan" else None,
                          need=loss < 5, size=2 * MIB if loss < 5 else MIB // 2,
                          families=("v4", "v6") if loss == 1 or ALL else ("v4",))


def paths(suite):
    suite.add("slow-out/up", slow_out, taken.CONFIG, 30, way="up", wan={"delay_ms": 10, "mbit": 50, "queue": 400})
    suite.add("slow-out/down", slow_out, taken.CONFIG, 30, way="down", lan={"delay_ms": 1, "mbit": 200, "queue": 400})
    suite.add("tun", tun, taken.CONFIG, 60)
    for lan, wan in ((1500, 1400), (1400, 1500), (9000, 1500), (1500, 9000), (9000, 9000)):
        for family in ("v4", "v6"):
            if ALL or family == "v4":
                suite.add(f"mtu/{lan}-{wan}/{family}", frames, taken.CONFIG, lan=lan, wan=wan, family=family)
    few = ((ENDS, "gro off gso off tso off tx off rx off"),)
    more = ((ENDS[1:3], "gro on rx-gro-list on rx-udp-gro-forwarding on"), (ENDS[1:3], "gro on"), (ENDS[1:2], "tx off"),
            (ENDS[2:3], "rx off gso off"), (ENDS[:1] + ENDS[3:], "tx off"), (ENDS[:1], "tso off gso off"))
    for interfaces, words in few + (more if ALL else ()):
        where = "-".join(f"{side[0]}{interface[0]}" for side, interface in interfaces)
        suite.add(f"offloads/{where}/{words.replace(' ', '-')}", without, taken.CONFIG, 30, interfaces=interfaces,
                  words=words)


def hosts(suite):
    for family in ("v4", "v6"):
        suite.add(f"offloads/strung/{family}", strung, taken.CONFIG, 30, family=family)
    suite.add("server-first", server_first, taken.CONFIG)
    few = ({"tcp_timestamps": 0, "tcp_sack": 0},)
    more = ({"tcp_timestamps": 0}, {"tcp_sack": 0}, {"tcp_ecn": 1})
    for values in few + (more if ALL else ()):
        name = "-".join(f"{key[4:]}-{value}" for key, value in values.items())
        suite.add(f"options/{name}", options, taken.CONFIG, 30, families=("v4", "v6"), **values)
    few = ((14, 7, 0), (None, 7, 7))
    more = ((0, 7, 14), (7, 14, 14), (14, 10, 7), (7, 7, None))
    for client, router, server in few + (more if ALL else ()):
        suite.add(f"scales/{client}-{router}-{server}", window_scales, taken.CONFIG, 30, client=client, router=router,
                  server=server)
    for loss in (0, 1):
        suite.add(f"ends/{loss}", ends, taken.CONFIG, 40, loss=loss)
    suite.add("refused-first", refused_first, taken.CONFIG, 60, attempts=5 if ALL else 3)
    suite.add("window", closed_window, taken.CONFIG, 120, silent=60 if ALL else 4)
    suite.add("wrap", wrap, taken.CONFIG, 90, mib=4200)


def main():
    suite = Suite()
    matrix(suite)
    paths(suite)
    hosts(suite)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
