#!/usr/bin/python3
"""tls_fragment and tls_record_fragment as the wire and the server see them: where a hello is cut and when its pieces
leave; what is none passes at once; how flows end meanwhile."""
import socket
import sys
import time

from fragment import (DEFAULT_DELAY, DELAY, MODES, NAME, SECRET, SLACK, TYPE_APPLICATION, Timeline, config, exactly,
                      flow, hello, judge, listen, record, split_records, stamp_packets, take_hello)
from lab import SERVICE
from seamtest import Suite
from streams import Stream, expect_end, expect_reset, expect_silence, ping_pong, reset_and_close
from test_fastopen import fast_open
from test_outbounds import KINDS, SOCKS, VLESS
from verdict import Skip, check, wait_for
from wire import closed

HELLO_WAIT = 1.0  # seconds for the rest of a hello
TCP_DELACK_MAX_US = 46  # of linux/tcp.h

# Cases: the wire --------------------------------------------------------------------------------------

SHAPES = {"small": {}, "big": {"behind": 1900}, "name-far-back": {"before": 1800},
          "huge": {"before": 6000, "behind": 6000}, "records": {"records": 3}}


def wire(env, family, mode, shape):
    client, server, timeline = flow(env, family, mode)
    sent = hello(**SHAPES[shape])
    client.sendall(sent)
    judge(timeline, take_hello(server, sent, mode), mode, 2)
    ping_pong(client, server, 20, 100)


def halves(env, family, mode):
    """Two segments, 50 ms apart."""
    client, server, timeline = flow(env, family, mode)
    sent = hello(behind=1700)
    client.sendall(sent[:1000])
    time.sleep(0.05)
    client.sendall(sent[1000:])
    judge(timeline, take_hello(server, sent, mode), mode, 2)
    ping_pong(client, server, 20, 100)


def drops(env, family, mode):
    """Byte by byte; and what is behind the hello comes after it."""
    client, server, timeline = flow(env, family, mode)
    sent, behind = hello(behind=20), record(b"early data", TYPE_APPLICATION)
    for byte in sent:
        client.sendall(bytes((byte,)))
    client.sendall(behind)
    got = take_hello(server, sent, mode)
    check(exactly(server, len(behind)) == behind, "what was behind the hello is gone")
    ping_pong(client, server, 20, 100)
    secrets = [piece for piece in timeline.pieces() if SECRET in piece.data]
    check(mode == "records" or not secrets, "a piece has the name")
    check(mode == "packets" or SECRET not in b"".join(part for _, _, part in split_records(got)[:1]), "a record has it")


def labels(env, family, mode):
    """Nobody knows the suffix: every label but the last is cut, and every piece waits."""
    client, server, timeline = flow(env, family, mode)
    sent = hello("alpha.bravo.charlie.zz-inside")
    client.sendall(sent)
    got = take_hello(server, sent, mode)
    for secret in (b"alpha", b"bravo", b"charlie"):
        judge(timeline, got, mode, 4, secret=secret)


def acknowledge_later(conn):
    """The next bytes are acknowledged some 8 ms after they came, as by a peer that is not far."""
    try:
        conn.setsockopt(socket.IPPROTO_TCP, TCP_DELACK_MAX_US, 8000)
    except OSError as error:
        raise Skip(f"TCP_DELACK_MAX_US: {error}") from error
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)


def near(env, family, halved):
    """Less than 20 ms away, every piece waits, whatever was waited for before."""
    client, server, timeline = flow(env, family, "packets")
    sent, count = (hello(), 2) if halved else (hello("alpha.bravo.charlie.zz-inside"), 4)
    acknowledge_later(server)
    if halved:
        client.sendall(sent[:150])
        time.sleep(0.08)
    client.sendall(sent[150 if halved else 0:])
    got = b""
    while len(got) < len(sent):
        got += server.recv(65536)
        acknowledge_later(server)
    check(got == sent, "the hello was changed")
    timeline.packets()
    lags = [after.at - packet.at for packet, after in zip(timeline.seen, timeline.seen[1:]) if packet.payload]
    env.note("acknowledged after " + ", ".join(f"{lag * 1000:.0f}" for lag in lags) + " ms")
    if max(lags) > 0.013:
        raise Skip("the machine is too busy")
    judge(timeline, got, "packets", count, secret=SECRET if halved else b"bravo")


def single_label(env, family, mode):
    client, server, timeline = flow(env, family, mode)
    sent = hello("intranet")
    client.sendall(sent)
    judge(timeline, take_hello(server, sent, mode), mode, 2, secret=b"intranet")


def default_delay(env, family):
    client, server, timeline = flow(env, family, "default")
    sent = hello()
    client.sendall(sent)
    judge(timeline, take_hello(server, sent, "packets"), "packets", 2, DEFAULT_DELAY)


def lost(env, family, way):
    """A piece that gets lost comes again alone: the next one is not under way yet, and need not wait then."""
    client, server, timeline = flow(env, family, way)
    sent = hello()
    with env.lab.nft(server=f"tcp dport {timeline.port} meta length > 100 drop"):
        client.sendall(sent)
        expect_silence(server, 0.1)
    got = take_hello(server, sent, "packets")
    found = timeline.pieces()
    check(len(found) == 2 and all(piece.proven for piece in found), f"pieces: {found}")
    check(not any(SECRET in packet.payload for packet in timeline.packets()), "a packet has the name")
    check(b"".join(piece.data for piece in found) == got, "the wire had something else")
    gap = found[1].at - found[0].at
    check(0.15 < gap < DEFAULT_DELAY - 0.05, f"a gap of {gap:.3f} s")


def limit(env, family):
    """dial_timeout bounds the wait for acknowledgements; then the kernel has to keep the rest."""
    client, server, timeline = flow(env, family, "impatient")
    sent = hello()
    with env.lab.nft(server=f"tcp dport {timeline.port} meta length > 100 drop"):
        client.sendall(sent)
        started = time.monotonic()
        wait_for(lambda: env.daemon.flow_of(client)["up"]["bytes"] == len(sent), "the rest was not written", 3)
        took = time.monotonic() - started
        check(0.9 < took < 1 + SLACK, f"written after {took:.3f} s")
    take_hello(server, sent, "packets")


# Cases: what passes -----------------------------------------------------------------------------------

UNTOUCHED = {
    "http": b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.9 www.example.com\r\n",
    "one-byte": b"x",
    "random": bytes([200]) + Stream(7, 3000).part(0, 3000).tobytes(),
    "other-record": record(b"www.example.com" * 10, TYPE_APPLICATION),
    "other-handshake": record(b"\2\0\0\x20" + b"www.example.com" * 10),
    "no-name": hello(None),
    "broken-hello": record(b"\1\0\0\x40" + b"\3\3" + b"www.example.com" * 20),
    "address": hello("192.0.2.1"),
    "address6": hello("2001:db8::1"),
    "strange-name": hello("www\1exa mple.com"),
}


def untouched(env, family, mode, what):
    """As it is, in one packet, at once."""
    client, server, timeline = flow(env, family, mode)
    started = time.monotonic()
    client.sendall(UNTOUCHED[what])
    got = exactly(server, len(UNTOUCHED[what]))
    took = time.monotonic() - started
    check(got == UNTOUCHED[what], f"{what} was changed")
    check(took < SLACK, f"{what} took {took:.2f} s")
    check(len(timeline.pieces(0.01)) == 1, f"{len(timeline.pieces(0.01))} pieces")
    ping_pong(client, server, 20, 100)


def greeting(env, family, mode):
    """The server speaks first, then a hello comes; the client's first word is what counts."""
    client, server, timeline = flow(env, family, mode)
    started = time.monotonic()
    server.sendall(b"220 ready\r\n")
    check(exactly(client, 11) == b"220 ready\r\n", "another greeting")
    check(time.monotonic() - started < SLACK, "the greeting took long")
    sent = hello()
    client.sendall(sent)
    judge(timeline, take_hello(server, sent, mode), mode, 2)


def starttls(env, family, mode):
    """A hello that is not first is not cut."""
    client, server, timeline = flow(env, family, mode)
    ping_pong(client, server, 1, 10)
    sent = hello()
    client.sendall(sent)
    check(exactly(server, len(sent)) == sent, "the hello was changed")
    check(any(piece.data == sent for piece in timeline.pieces(0.0)), "it was cut")


def never_whole(env, family, mode):
    client, server, _ = flow(env, family, mode)
    sent, started = hello(), time.monotonic()
    client.sendall(sent[:200])
    check(exactly(server, 200) == sent[:200], "the half was changed")
    took = time.monotonic() - started
    check(HELLO_WAIT - 0.05 < took < HELLO_WAIT + SLACK, f"it took {took:.2f} s")
    client.sendall(sent[200:])
    check(exactly(server, len(sent) - 200) == sent[200:], "the rest was changed")
    ping_pong(client, server, 20, 100)


def end_behind(env, family, mode, whole):
    """FIN behind a half or the whole hello: all of it, and the FIN; the answer still gets back."""
    client, server, timeline = flow(env, family, mode)
    sent, started = hello(), time.monotonic()
    client.sendall(sent if whole else sent[:200])
    client.shutdown(socket.SHUT_WR)
    if whole:
        judge(timeline, take_hello(server, sent, mode), mode, 2)
    else:
        check(exactly(server, 200) == sent[:200], "the half was changed")
    expect_end(server, SLACK)
    took = time.monotonic() - started
    check(took < DELAY + SLACK, f"it took {took:.2f} s")
    server.sendall(b"last words")
    server.shutdown(socket.SHUT_WR)
    check(exactly(client, 10) == b"last words", "the last words got lost")
    expect_end(client)


def end_later(env, family):
    """FIN while the rest of a hello is waited for: no more will come."""
    client, server, _ = flow(env, family, "both")
    sent = hello()
    client.sendall(sent[:200])
    time.sleep(0.1)
    started = time.monotonic()
    client.shutdown(socket.SHUT_WR)
    check(exactly(server, 200) == sent[:200], "the half was changed")
    expect_end(server, SLACK)
    took = time.monotonic() - started
    check(took < SLACK, f"it took {took:.2f} s")


def half_then_rest_and_end(env, family, mode):
    """The rest of a hello and the FIN come together, into the wait for it."""
    client, server, timeline = flow(env, family, mode)
    sent = hello()
    client.sendall(sent[:200])
    time.sleep(0.05)
    client.sendall(sent[200:])
    client.shutdown(socket.SHUT_WR)
    judge(timeline, take_hello(server, sent, mode), mode, 2)
    expect_end(server, SLACK)


def client_reset(env, family, whole):
    """RST between two pieces, or inside the hello."""
    env.need_ctl()
    before = closed(env, "client-reset")
    client, server, timeline = flow(env, family, "default")
    sent = hello()
    client.sendall(sent if whole else sent[:200])
    if whole:
        wait_for(timeline.pieces, "no first piece")
    time.sleep(0.05)
    reset_and_close(client)
    expect_reset(server, SLACK)
    wait_for(lambda: closed(env, "client-reset") > before, "no flow ended with client-reset", 1)
    env.daemon.wait_idle(1)
    passed = sum(len(piece.data) for piece in timeline.pieces())
    check(0 < passed < len(sent) if whole else not passed, f"{passed} of {len(sent)} bytes left")


def server_ends(env, family):
    """The server has said enough after the first piece; the rest still goes there."""
    client, server, _ = flow(env, family, "default")
    sent = hello()
    client.sendall(sent)
    first = server.recv(65536)
    check(len(first) < len(sent), "it was not cut")
    server.sendall(b"alert")
    server.shutdown(socket.SHUT_WR)
    check(exactly(client, 5) == b"alert", "the alert got lost")
    expect_end(client, SLACK)
    check(first + exactly(server, len(sent) - len(first)) == sent, "the hello was changed")
    client.shutdown(socket.SHUT_WR)
    expect_end(server, SLACK)


def server_reset(env, family):
    client, server, _ = flow(env, family, "default")
    sent = hello()
    client.sendall(sent)
    check(0 < len(server.recv(65536)) < len(sent), "it was not cut")
    reset_and_close(server)
    expect_reset(client, SLACK)
    env.daemon.wait_idle(1)


def server_vanishes(env, family):
    """close() with bytes unread and more to come."""
    client, server, _ = flow(env, family, "packets")
    client.sendall(hello())
    wait_for(lambda: server.recv(1, socket.MSG_PEEK), "no first piece")
    server.close()
    expect_reset(client, 1)
    env.daemon.wait_idle(1)


# Cases: with others -----------------------------------------------------------------------------------

def with_fast_open(env, family):
    """The SYN has a cookie and nothing of the hello."""
    with fast_open(env):
        listener = listen(env, family, "fast")
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 100)
        timeline = Timeline(env, listener.getsockname()[1])
        for _ in range(3):
            timeline.packets()
            timeline.seen.clear()
            client = env.connect(listener.getsockname(), family)
            sent = hello()
            client.sendall(sent)
            server = env.accept(listener)
            judge(timeline, take_hello(server, sent, "both"), "both", 2)
            check(len(timeline.syns()) == 1 and not timeline.syns()[0].payload, f"the SYN: {timeline.syns()}")
            ping_pong(client, server, 5, 100)
            client.close()
            server.close()
        env.note(f"option in the last SYN: {timeline.syns()[0].options.get(34)}")


def with_proxy(env, family, kind, port):
    """To a proxy the hello is cut as well, behind what the proxy gets."""
    env.need_daemon()
    with KINDS[kind].peer(env, family):
        listener = listen(env, family, "socks" if kind == "socks5" else "vless")
        timeline = Timeline(env, port)
        client, sent = env.connect(listener.getsockname(), family), hello()
        client.sendall(sent)
        server = env.accept(listener)
        check(server.getpeername()[0] == SERVICE[family], "a connection that is not the proxy's")
        got = take_hello(server, sent, "both")
        ping_pong(client, server, 5, 100)
        found = timeline.pieces()
        check(not any(SECRET in piece.data for piece in found), f"a piece has the name: {found}")
        records_of = [record(part) for _, _, part in split_records(got)]
        packets = [packet.payload for packet in timeline.packets()]
        check(all(one in packets for one in records_of), "not a record a packet")


def sniffed(env, family, parts):
    """The rule asks for the name that an earlier one found; another name is not cut."""
    for name in (NAME, "www.example.net"):
        listener = listen(env, family, "sniff")
        timeline = Timeline(env, listener.getsockname()[1])
        client, sent = env.connect(listener.getsockname(), family), hello(name, behind=1700)
        for at in range(0, len(sent), -(-len(sent) // parts)):
            client.sendall(sent[at:at + -(-len(sent) // parts)])
            time.sleep(0.02)
        server = env.accept(listener)
        if name == NAME:
            judge(timeline, take_hello(server, sent, "both"), "both", 2)
        else:
            check(exactly(server, len(sent)) == sent, "the hello was changed")
            check(len(timeline.pieces()) == 1, "it was cut")
        ping_pong(client, server, 20, 100)


def killed(env, family):
    """By the operator: inside a hello, and between pieces."""
    for size in (200, None):
        client, server, _ = flow(env, family, "default")
        client.sendall(hello()[:size])
        time.sleep(0.05)
        env.daemon.ctl("flows", "kill", str(env.daemon.flow_of(client)["id"]))
        expect_reset(client)
        expect_reset(server)


def stopped(env, family):
    """The daemon ends then, and leaves nothing behind."""
    for size in (200, None):
        client, _, _ = flow(env, family, "default")
        client.sendall(hello()[:size])
    time.sleep(0.05)
    env.daemon.stop()


def add_modes(add, family):
    for mode in MODES:
        for shape in SHAPES:
            add(wire, mode, family, shape, family=family, mode=mode, shape=shape)
        for func in (halves, drops, labels, single_label, greeting, starttls, half_then_rest_and_end):
            add(func, mode, family, family=family, mode=mode)
        for whole in (False, True):
            add(end_behind, mode, family, "whole" if whole else "half", family=family, mode=mode, whole=whole)


def main():
    suite, everything, stamps = Suite(), config(), stamp_packets()

    def add(func, *names, **kwargs):
        suite.add("/".join(("fragment", func.__name__.replace("_", "-"), *names)), func, everything, **kwargs)

    for family in ("v4", "v6"):
        add_modes(add, family)
        for what in UNTOUCHED:
            add(untouched, family, what, family=family, mode="both", what=what)
        for func in (default_delay, end_later, server_ends, server_reset, server_vanishes, killed, with_fast_open):
            add(func, family, family=family)
        for way in ("packets", "default"):
            add(lost, way, family, family=family, way=way)
        for whole in (False, True):
            add(client_reset, family, "between" if whole else "inside", family=family, whole=whole)
        for parts in (1, 2):
            add(sniffed, family, str(parts), family=family, parts=parts)
        for halved in (False, True):
            add(near, family, "halves" if halved else "labels", family=family, halved=halved)
        add(with_proxy, family, "socks", family=family, kind="socks5", port=SOCKS)
        add(with_proxy, family, "vless", family=family, kind="vless", port=VLESS)
    for mode in MODES:
        add(never_whole, mode, family="v4", mode=mode)
    add(limit, family="v6")
    suite.add("fragment/stopped", stopped, config("copy", drain_timeout="100ms"), family="v6")
    with stamps:
        return suite.run()


if __name__ == "__main__":
    sys.exit(main())
