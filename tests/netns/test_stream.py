#!/usr/bin/python3
"""Byte-exact streams through the daemon: every relay method, both families, load, pauses, small writes,
packet loss and retransmissions that overlap what has been received."""
import socket
import sys
import threading

from daemon import NO_PACKET, Config
from rewind import rewind
from seamtest import Suite
from streams import MIB, Stream, bursts, compare_some, ping_pong, receive, send, small_writes, whole_blocks
from verdict import check, wait_for

CONFIGS = {
    "copy": Config("copy"),
    "splice": Config("splice"),
    "auto": Config("auto", relay=NO_PACKET),
    "packet": Config("auto"),
    **{f"sockmap-{reads}": Config("sockmap", enter_after=reads) for reads in (0, 1, 16, 64)},
}
LOSSY = 6.0  # seconds; a sender's timeouts double, so the longer it lasts the longer the end takes


def half_close(env, family, plan=whole_blocks, up=48 * MIB, down=20 * MIB):
    """The server answers after the client's FIN, as a request that is read to its end."""
    client, server = env.pair(family)
    request, answer = Stream(1, up), Stream(2, down)

    def serve():
        receive(server, request)
        send(server, answer, plan)

    env.together((send, client, request, plan), (receive, client, answer), (serve,))


def all_ways(flow):
    """The flow, if the kernel has moved bytes both ways."""
    return flow if all(flow[way]["kernel_bytes"] for way in ("up", "down")) else None


def duplex(env, family, plan=whole_blocks, size=48 * MIB, late=0):
    """Different bytes both ways at the same time; the FINs wait until the counters have been looked at."""
    client, server = env.pair(family)
    up, down, held = Stream(3, size), Stream(4, size), threading.Event()
    ping_pong(client, server, late, 700)
    flow = {}

    def transfer(conn, stream):
        send(conn, stream, plan, end=False)
        held.wait(20)
        conn.shutdown(socket.SHUT_WR)

    def watch():
        env.together((receive, client, down, False), (receive, server, up, False))
        if env.daemon.has_ctl:
            flow.update(wait_for(lambda: counted(env, client, size + late * 700),
                                 lambda: f"counters: {env.daemon.flows()}"))
        if flow and env.daemon.config.method == "sockmap" and not all_ways(flow):
            # so fast that user space always had something in hand: the kernel has what comes after
            ping_pong(client, server, 30, 700)
            flow.update(wait_for(lambda: all_ways(env.daemon.flow_of(client)), lambda: f"{env.daemon.flows()}"))
        held.set()

    env.together((transfer, client, up), (transfer, server, down), (watch,))
    check(not client.recv(1) and not server.recv(1), "bytes behind the end")
    if flow and env.daemon.config.method == "sockmap":
        check(flow["method"] == "sockmap", f"method is {flow['method']}")
        for way in ("up", "down"):
            check(flow[way]["kernel_bytes"] > 0, f"no byte went {way} in the kernel: {flow}")
    if flow:
        env.note(f"{flow['method']}: " + ", ".join(
            f"{way} {flow[way]['kernel_bytes'] * 100 // size} % in the kernel, {flow[way]['spills']} spills"
            for way in ("up", "down")))


def counted(env, client, size):
    """Every byte, once; but what is sent again is translated again."""
    flow = env.daemon.flow_of(client)
    most = size * 1.1 if flow and flow["method"] == "packet" else size
    return flow if flow and all(size <= flow[way]["bytes"] <= most for way in ("up", "down")) else None


def lossy(env, family, plan, size, flows, percent):
    """Several flows at once, full duplex, over lossy legs."""
    pairs = [env.pair(family) for _ in range(flows)]
    calls = []
    for number, (client, server) in enumerate(pairs):
        up, down = Stream(100 + number, size), Stream(500 + number, size)
        calls += [(send, client, up, plan), (receive, server, up), (send, server, down, plan), (receive, client, down)]
    env.together(*calls, at_first=env.lab.loss(percent), seconds=LOSSY)


def lossy_turns(env, family, rounds, flows, percent):
    """Request and answer of three small writes each, in turn. A sender whose ACKs are lost too knows nothing of what
    arrived; it joins the small segments when it retransmits, and the new segment overlaps what was received."""
    pairs = [env.pair(family) for _ in range(flows)]

    def turns(conn, mine, other, first):
        sent = taken = 0
        for turn in range(2 * rounds):
            if turn % 2 == first:
                taken += compare_some(conn, other, taken, 3 * 200)
                continue
            for _ in range(3):
                conn.sendall(mine.part(sent, 200))
                sent += 200

    calls = []
    for number, (client, server) in enumerate(pairs):
        up, down = Stream(100 + number, MIB), Stream(500 + number, MIB)
        calls += [(turns, client, up, down, True), (turns, server, down, up, False)]
        client.settimeout(40)
        server.settimeout(40)
    env.together(*calls, at_first=env.lab.loss(percent), seconds=LOSSY)


def overlap(env, family, back, ahead, warm):
    """The client sends @back bytes again and @ahead new ones in one write, then goes on; twice."""
    client, server = env.pair(family)
    ping_pong(client, server, warm, 100)
    if env.daemon.has_ctl and env.daemon.config.method == "sockmap" and warm > env.daemon.config.enter_after:
        wait_for(lambda: env.daemon.flow_of(client)["up"]["kernel_bytes"], "the flow stays out of the kernel")
    stream, position = Stream(5, 400000), 0

    def move(length, again=0):
        client.sendall(stream.part(position - again, again + length))
        taken = compare_some(server, stream, position, length)
        check(taken == length, f"ended after {position + taken} bytes")
        return position + length

    position = move(max(back, 1000))
    for _ in range(2):
        wait_for(lambda: not unacknowledged(client), "bytes stay unacknowledged")
        client = rewind(env, client, family, back)
        position = move(ahead, again=back)
        position = move(500)
    answer = Stream(6, MIB)
    client.shutdown(socket.SHUT_WR)
    check(not server.recv(1), "bytes behind the end")
    env.together((send, server, answer), (receive, client, answer))


def unacknowledged(conn):
    return int.from_bytes(conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)[24:28], sys.byteorder)


SHAPES = {
    "half-close": (half_close, {}),
    "duplex": (duplex, {}),
    "late": (duplex, {"late": 40}),
    "bursts": (half_close, {"plan": bursts, "up": 24 * MIB, "down": 12 * MIB}),
    "small": (duplex, {"plan": small_writes, "size": 8 * MIB}),
}
LOSSES = {
    "loss-small": ("v4", lossy, {"plan": small_writes, "size": 512 << 10, "flows": 8, "percent": 3}),
    "loss-large": ("v6", lossy, {"plan": whole_blocks, "size": 16 * MIB, "flows": 4, "percent": 3}),
    "loss-turns": ("v4", lossy_turns, {"rounds": 8, "flows": 120, "percent": 20}),
}
OVERLAPS = {
    "short": {"back": 50, "ahead": 50},
    "segment": {"back": 1400, "ahead": 5000},
    "long": {"back": 9000, "ahead": 4000},
    "long-one": {"back": 9000, "ahead": 1},
}


def main():
    suite = Suite()
    for name, config in CONFIGS.items():
        for family in ("v4", "v6"):
            for shape, (func, kwargs) in SHAPES.items():
                suite.add(f"stream/{name}/{family}/{shape}", func, config, 30, family=family, **kwargs)
            for shape, kwargs in OVERLAPS.items():
                suite.add(f"stream/{name}/{family}/overlap-{shape}", overlap, config, family=family, warm=80, **kwargs)
        for shape, (family, func, kwargs) in LOSSES.items():
            if name in ("splice", "sockmap-0", "sockmap-16") or name == "copy" and func is lossy:
                suite.add(f"stream/{name}/{family}/{shape}", func, config, 60, family=family, **kwargs)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
