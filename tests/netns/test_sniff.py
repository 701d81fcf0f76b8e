#!/usr/bin/python3
"""Sniffing: what a client says first decides where it goes, and is passed on whole, however it comes, whoever speaks
first and whoever leaves; and the connections that rules refuse."""
import contextlib
import dataclasses
import json
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from daemon import NO_PACKET
from seamtest import FAMILIES, Suite
from streams import (MIB, Stream, expect_end, expect_reset, expect_silence, ping_pong, receive, reset_and_close, send,
                     whole_blocks)
from test_routing import GARBAGE, SOURCES, call, check_way, hello, listen_at, receive_bytes, request, take, ways
from test_strategy import Watch
from verdict import check, wait_for
from wire import closed, source_of

SNIFF_RULES = {
    "refuse-port": {"port": 7202, "action": "reject"},
    "drop-port": {"port": 7203, "action": "reject", "method": "drop"},
    "sniff": {"action": "sniff"},
    "domain": {"domain": "exact.test", "outbound": "two"},
    "suffix": {"domain_suffix": ["suffix.test", ".below.test"], "outbound": "two"},
    "keyword": {"domain_keyword": "eywor", "outbound": "two"},
    "regex": {"domain_regex": r"^r[0-9]+\.test$", "outbound": "two"},
    "set": {"rule_set": "names", "outbound": "two"},
    "refuse": {"domain": "refused.test", "action": "reject"},
    "drop": {"domain": "dropped.test", "action": "reject", "method": "drop"},
    "tls": {"protocol": "tls", "outbound": "one"},
    "http": {"protocol": ["http", "rdp"], "outbound": "one"},
    "ssh": {"protocol": "ssh", "outbound": "one"},
}
SSH = b"SSH-2.0-OpenSSH_9.6p1\r\n"
NAMES = {"exact.test": "domain", "www.exact.test": None, "suffix.test": "suffix", "a.b.suffix.test": "suffix",
         "unsuffix.test": None, "below.test": None, "x.below.test": "suffix", "my.keywords.test": "keyword",
         "R12.test": "regex", "xr12.test": None, "in.set.test": "set", "other.test": None}


def speak(client, chunks, pause=0.0):
    for number, chunk in enumerate(chunks):
        time.sleep(pause if number else 0)
        client.sendall(chunk)


def sniffed(env, family, chunks, rule, pause=0.0, between=(0, 0.25), protocol="", domain=""):
    """What the client says in @chunks arrives, by the way of @rule, and in time; returns both ends."""
    env.need_ctl()
    rules = env.daemon.config.route["rules"]
    listener = env.listen(family)
    client = env.connect(listener.getsockname(), family)
    speaking = env.spawn(speak, client, chunks, pause)
    started = time.monotonic()
    server = env.accept(listener)
    server.settimeout(5)
    took = time.monotonic() - started
    check(between[0] <= took <= between[1], f"dialed after {took:.2f} s, not within {between[0]:g} to {between[1]:g} s")
    speaking.result()
    take(server, b"".join(chunks))
    index = list(SNIFF_RULES).index(rule) if rule else -1
    check_way(env, client, server, rules[index]["outbound"] if rule else "rest", index, protocol=protocol,
              domain=domain)
    return client, server


def names(env, family):
    """Each name as TLS and HTTP tell it."""
    for name, rule in NAMES.items():
        for protocol, data in (("tls", hello(name)), ("http", request(name))):
            client, server = sniffed(env, family, [data], rule or protocol, protocol=protocol, domain=name.lower())
            ping_pong(client, server, 1)


def ssh(env, family):
    ping_pong(*sniffed(env, family, [SSH], "ssh", protocol="ssh"), 3)


def pieces(env, family, data, protocol):
    """Split in two, and byte by byte. The last bytes of a head are not needed."""
    for cut in (1, 5, len(data) // 2):
        client, server = sniffed(env, family, [data[:cut], data[cut:]], "domain", 0.1, (0.08, 0.28), protocol,
                                 "exact.test")
        ping_pong(client, server, 1)
    single = [bytes([byte]) for byte in data]
    ping_pong(*sniffed(env, family, single, "domain", 0, (0, 0.3), protocol, "exact.test"), 1)


def unfinished(env, family):
    """Half a message is waited for, then passed on like any bytes."""
    half = hello("exact.test")[:100]
    ping_pong(*sniffed(env, family, [half], None, between=(0.25, 0.4)), 1)
    client, server = sniffed(env, family, [half, half], None, 0.15, (0.25, 0.4))
    ping_pong(client, server, 1)


def garbage(env, family):
    """Known to be nothing at once."""
    for data in (GARBAGE, b"\xff" * 30, b"\x16\x03\x01\xff\xff" + GARBAGE, b"GET \x01" + GARBAGE, b"SSH-2.0-\x01"):
        client, server = sniffed(env, family, [data], None)
        ping_pong(client, server, 1)


def too_long(env, family):
    """A head that does not end is not waited for beyond what is looked at."""
    data = b"GET / HTTP/1.1\r\n" + b"X-A: " + b"a" * 40000
    ping_pong(*sniffed(env, family, [data], "http", protocol="http"), 1)


def server_first(env, family):
    """A client that says nothing is not dialed for until the time is up; at port 25 at once, whatever it says."""
    env.need_ctl()
    for port, first, between in ((7200, b"", (0.2, 0.4)), (25, b"", (0, 0.15)), (25, request("exact.test"), (0, 0.15))):
        listener = listen_at(env, family, port)
        started = time.monotonic()
        client = call(env, family, port)
        client.sendall(first)
        server = env.accept(listener)
        server.sendall(b"220 hello\r\n")
        take(client, b"220 hello\r\n")
        took = time.monotonic() - started
        check(between[0] <= took <= between[1], f"port {port}: the banner came after {took:.2f} s")
        take(server, first)
        check_way(env, client, server, "rest", protocol="", domain="")
        ping_pong(client, server, 1)
        listener.close()


def many_bytes(env, family, first, protocol):
    """What was looked at is the head of a stream of which nothing is lost, in the kernel's hands soon."""
    client, server = sniffed(env, family, [first], "domain" if protocol else None, protocol=protocol,
                             domain="exact.test" if protocol else "")
    up, down = Stream(3, 8 * MIB), Stream(4, 8 * MIB)
    env.together((send, client, up, whole_blocks, False), (receive, server, up, False),
                 (send, server, down, whole_blocks, False), (receive, client, down, False))
    method = env.daemon.flow_of(client)["method"]
    check(method == "sockmap", f"the method is {method}")
    env.together((client.shutdown, socket.SHUT_WR), (expect_end, server))
    env.together((server.shutdown, socket.SHUT_WR), (expect_end, client))


def at_once(env, family):
    """Hello and stream in one write: more than sniffing looks at."""
    env.need_ctl()
    listener, stream, first = env.listen(family), Stream(5, 4 * MIB), hello("exact.test")
    client = env.connect(listener.getsockname(), family)
    sending = env.spawn(client.sendall, first + bytes(stream.part(0, MIB)))
    server = env.accept(listener)
    take(server, first + bytes(stream.part(0, MIB)))
    sending.result()
    check_way(env, client, server, "two", list(SNIFF_RULES).index("domain"), domain="exact.test")
    ping_pong(client, server, 3, 1000)


def fin_behind(env, family):
    """The client's FIN is in the air with its request, whole or not; the answer comes all the same."""
    env.need_ctl()
    cases = ((request("exact.test"), "two", "exact.test"), (hello("exact.test")[:60], "rest", ""))
    for data, outbound, domain in cases:
        before, listener = closed(env, "done"), env.listen(family)
        client = env.socket("client", family)
        client.connect(listener.getsockname()[:2])
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        started = time.monotonic()
        server = env.accept(listener)
        check(time.monotonic() - started < 0.2, "nothing more could come, but it was waited for")
        take(server, data)
        expect_end(server)
        check(source_of(server) == SOURCES[outbound][family], f"the server sees {source_of(server)}")
        flow = env.daemon.flow_of(client)
        check(flow["domain"] == domain, f"the domain is {flow['domain']!r}")
        server.sendall(b"answer")
        server.close()
        take(client, b"answer")
        expect_end(client)
        wait_for(lambda: closed(env, "done") > before, "the flow did not end well")


def leaving(env, family):
    """Clients that are gone before it is known where to leave nothing behind, and nobody is dialed for them."""
    env.need_ctl()
    listener = env.listen(family)
    files = env.daemon.fds()
    before = {reason: closed(env, reason) for reason in ("client-gone", "client-reset")}
    half = hello("exact.test")[:100]
    clients = [env.connect(listener.getsockname(), family) for _ in range(60)]
    wait_for(lambda: len(env.daemon.flows()) == 60, "not all are there", 0.25)
    for number, client in enumerate(clients):
        if number % 3 == 0:
            client.close()
            continue
        if number % 3 == 1:
            client.sendall(half)
        reset_and_close(client)
    env.daemon.wait_idle(1)
    listener.settimeout(0.4)
    with contextlib.suppress(TimeoutError):
        check(not listener.accept(), "somebody was dialed for")
    ends = {reason: closed(env, reason) - count for reason, count in before.items()}
    check(ends == {"client-gone": 20, "client-reset": 40}, f"ended as {ends}")
    wait_for(lambda: env.daemon.fds() <= files, lambda: f"{env.daemon.fds()} files, before {files}")


def killed(env, family):
    """By seamctl, while its hello is waited for."""
    env.need_ctl()
    listener, before = env.listen(family), closed(env, "killed")
    client = env.connect(listener.getsockname(), family)
    client.sendall(hello("exact.test")[:100])
    flow = wait_for(lambda: env.daemon.flow_of(client), "no flow")
    check(flow["state"] == "route", f"the flow is {flow}")
    env.daemon.ctl("flows", "kill", str(flow["id"]))
    expect_reset(client, 0.2, drain=False)
    check(closed(env, "killed") == before + 1, "not ended as killed")


def handshake(env, family, folder):
    """A real TLS session, with SNI."""
    key, cert = (f"{folder}/{name}.pem" for name in ("key", "cert"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=exact.test", "-addext", "subjectAltName=DNS:exact.test", "-days", "2", "-keyout", key,
                    "-out", cert], check=True, capture_output=True)
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=cert)
    serving.load_cert_chain(cert, key)
    listener = env.listen(family)

    def serve():
        with serving.wrap_socket(env.accept(listener), server_side=True) as conn:
            while data := conn.recv(65536):
                conn.sendall(data)
            source = conn.getpeername()[0]
            conn.unwrap()
            return source

    env.need_ctl()
    echo = env.spawn(serve)
    with asking.wrap_socket(env.connect(listener.getsockname(), family), server_hostname="exact.test") as conn:
        for size in (10, 16000):
            conn.sendall(GARBAGE[:1] * size)
            left = size
            while left:
                left -= len(conn.recv(left))
        flow = env.daemon.flow_of(conn)
        conn.unwrap()
    check(echo.result() == SOURCES["two"][family] and flow["domain"] == "exact.test", f"the flow was {flow}")


def two_hundred(env, family):
    """At once, each with a name of its own, in two pieces."""
    env.need_ctl()
    listener, half = env.listen(family), []
    messages = {f"n{number}.suffix.test": b"" for number in range(200)}
    for name in messages:
        messages[name] = hello(name) + name.encode().ljust(40)
    length = min(map(len, messages.values()))
    clients = {}
    for name in messages:
        clients[name] = env.connect(listener.getsockname(), family)
        clients[name].sendall(messages[name][:50])
        half.append(name)
        if len(half) > 20:
            clients[half[0]].sendall(messages[half.pop(0)][50:])
    for name in half:
        clients[name].sendall(messages[name][50:])
    for _ in clients:
        server = env.accept(listener)
        data = receive_bytes(server, length)
        name = next(name for name, message in messages.items() if message[:length] == data)
        take(server, messages[name][length:])
        check(source_of(server) == SOURCES["two"][family], f"the server sees {source_of(server)}")
        ping_pong(clients[name], server, 1)
    found = {flow["domain"] for flow in env.daemon.flows()}
    check(found == set(clients), f"{len(found)} names, for example {sorted(found)[:3]}")


# Ends -------------------------------------------------------------------------------------------------

def refuse(env, family, port=0, first=b""):
    """RST at once, and the server hears nothing."""
    env.need_ctl()
    before, listener = closed(env, "rejected"), listen_at(env, family, port)
    client, started = env.socket("client", family), time.monotonic()
    with contextlib.suppress(ConnectionResetError):  # before connect() has returned
        client.connect(listener.getsockname()[:2])
        client.sendall(first)
        expect_reset(client, drain=False)
    check(time.monotonic() - started < 0.2, "the RST came late")
    wait_for(lambda: closed(env, "rejected") > before, "no flow was rejected")
    expect_silence(listener, 0.1)


def drop(env, family, port=0, first=b""):
    """No answer: neither RST nor FIN, and the server hears nothing."""
    env.need_ctl()
    listener = listen_at(env, family, port)
    client = env.connect(listener.getsockname(), family)
    client.sendall(first)
    expect_silence(client, 0.6)
    expect_silence(listener, 0.1)


def told(env, family):
    """Who watches learns which rule has refused whom."""
    watch, listener = Watch(env), env.listen(family)
    client = env.connect(listener.getsockname(), family)
    client.sendall(request("refused.test"))
    expect_reset(client, drain=False)
    event = watch.event(client)
    wanted = {"reason": "rejected", "rule": list(SNIFF_RULES).index("refuse"), "domain": "refused.test",
              "protocol": "http"}
    check({key: event[key] for key in wanted} == wanted, f"the event is {event}")


def add_all(suite, folder, sets):
    config = ways(SNIFF_RULES, rule_set=sets)
    sockmap = dataclasses.replace(config, relay=NO_PACKET)
    cases = {"names": names, "ssh": ssh, "unfinished": unfinished, "garbage": garbage, "too-long": too_long,
             "server-first": server_first, "at-once": at_once, "fin-behind": fin_behind, "leaving": leaving,
             "killed": killed, "two-hundred": two_hundred, "told": told}
    data = {"tls": hello("exact.test"), "http": request("exact.test")}
    for family in FAMILIES:
        for name, func in cases.items():
            suite.add(f"routing/sniff/{name}/{family}", func, config, family=family)
        suite.add(f"routing/sniff/handshake/{family}", handshake, config, family=family, folder=folder)
        for protocol, first in data.items():
            suite.add(f"routing/sniff/pieces/{protocol}/{family}", pieces, config, family=family, data=first,
                      protocol=protocol)
        for protocol, first in (data | {"": GARBAGE}).items():
            suite.add(f"routing/sniff/many-bytes/{protocol or 'unknown'}/{family}", many_bytes, sockmap, family=family,
                      first=first, protocol=protocol)
        for name, func, port in (("refuse", refuse, 7202), ("drop", drop, 7203)):
            suite.add(f"routing/{name}/{family}", func, config, family=family, port=port)
            suite.add(f"routing/{name}/{family}/sniffed", func, config, family=family,
                      first=request(f"{'refused' if name == 'refuse' else 'dropped'}.test"))


def main():
    suite = Suite()
    with tempfile.TemporaryDirectory(prefix="seamtest-") as folder:
        path = pathlib.Path(folder, "names.json")
        rules = [{"domain": "no.test"}, {"domain_suffix": "set.test"}]
        path.write_text(json.dumps({"version": 1, "rules": rules}), encoding="utf-8")
        add_all(suite, folder, [{"tag": "names", "path": str(path)}])
        return suite.run()


if __name__ == "__main__":
    sys.exit(main())
