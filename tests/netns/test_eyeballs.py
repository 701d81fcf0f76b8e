#!/usr/bin/python3
"""Happy Eyeballs (RFC 8305): every network against every strategy. The client goes to one address, override_address
sends the daemon to a name; which of its addresses it tries, when, and who wins."""
import contextlib
import ipaddress
import json
import socket
import sys
import time

from daemon import Config
from dnsserver import DnsServer
from lab import SERVICE
from seamtest import Suite
from streams import expect_end, expect_reset, reset
from verdict import Failure, check, wait_for

NAME_SERVER = "10.77.2.2"
STRATEGIES = ("prefer_ipv4", "prefer_ipv6", "ipv4_only", "ipv6_only")
TOLERANCE_MS = 20
CONNECT_TIMEOUT_MS = 1000
SLOW = 0.4  # seconds; more than the resolution delay, less than any resolver waits
A, AAAA = ([f"{prefix}{20 + i}" for i in range(4)] for prefix in ("10.77.9.", "fd77:9::"))
LABELS = {address: f"{family}.{i}" for family, all_of in ((4, A), (6, AAAA)) for i, address in enumerate(all_of)}

# Family.number@start, and + behind the winner. By the defaults: 50 for the preferred answer, 250 between attempts,
# 300 before the other family; connect_timeout 1s. An answer takes no time but where it is told to.
BOTH = {"A": A[:2], "AAAA": AAAA[:2]}
LATER = BOTH | {"delay": {"AAAA": 0.02}}  # an RST may be faster than the second of two answers; so it cannot
FOUR = {"A": A, "AAAA": AAAA}
CELLS = {
    "both-fast": (BOTH, {}, "4.0@0+", "6.0@0+", "4.0@0+", "6.0@0+"),
    "aaaa-slow": (BOTH | {"delay": {"AAAA": SLOW}}, {}, "4.0@0+", "4.0@50+", "4.0@0+", "6.0@400+"),
    "a-slow": (BOTH | {"delay": {"A": SLOW}}, {}, "6.0@50+", "6.0@0+", "4.0@400+", "6.0@0+"),
    "nxdomain": (None, {}, "", "", "", ""),
    "no-aaaa": ({"A": A[:2]}, {}, "4.0@0+", "4.0@0+", "4.0@0+", ""),
    "servfail": ({"rcode": "SERVFAIL"}, {}, "", "", "", ""),
    "servfail-aaaa": (BOTH | {"rcode": {"AAAA": "SERVFAIL"}}, {}, "4.0@0+", "4.0@0+", "4.0@0+", ""),
    "servfail-a": (BOTH | {"rcode": {"A": "SERVFAIL"}}, {}, "6.0@0+", "6.0@0+", "", "6.0@0+"),
    "v6-blackhole": (BOTH, {"drop": AAAA}, "4.0@0+", "6.0@0 4.0@300+", "4.0@0+", "6.0@0 6.1@250"),
    "v6-rst": (LATER, {"reset": AAAA}, "4.0@0+", "6.0@20 4.0@20+", "4.0@0+", "6.0@20 6.1@20"),
    "all-rst": (LATER, {"reset": A + AAAA}, "4.0@0 4.1@0 6.0@20 6.1@20", "6.0@20 4.0@20 6.1@20 4.1@20", "4.0@0 4.1@0",
                "6.0@20 6.1@20"),
    "all-blackhole": (BOTH, {"drop": A + AAAA}, "4.0@0 6.0@300 4.1@550 6.1@800", "6.0@0 4.0@300 6.1@550 4.1@800",
                      "4.0@0 4.1@250", "6.0@0 6.1@250"),
    "8-addresses": (FOUR, {"drop": A[:3] + AAAA[:3]},
                    "4.0@0 6.0@300 4.1@550 6.1@800 4.2@1050 6.2@1300 4.3@1550+",
                    "6.0@0 4.0@300 6.1@550 4.1@800 6.2@1050 4.2@1300 6.3@1550+",
                    "4.0@0 4.1@250 4.2@500 4.3@750+", "6.0@0 6.1@250 6.2@500 6.3@750+"),
}


class Raw(dict):
    """A part of a configuration as it stands in the file; a Config must be hashable."""

    def __hash__(self):
        return hash(json.dumps(self, sort_keys=True))


def domain_of(strategy):
    return f"{strategy.replace('_', '-')}.test"


def config_of(strategy):
    """Without a cache, so that one start serves all cells."""
    outbound = Raw(type="direct", tag="direct", routing_mark=1514, override_address=domain_of(strategy),
                   connect_timeout=f"{CONNECT_TIMEOUT_MS}ms", domain_resolver=Raw(server="dns", strategy=strategy))
    dns = Raw(servers=(Raw(type="udp", tag="dns", server=NAME_SERVER),), cache_capacity=0)
    return Config("copy", outbounds=(outbound,), dns=dns)


@contextlib.contextmanager
def name_server(env, name, entry):
    """Closed when everything it was asked is answered: a question that goes on would serve the next cell as well."""
    with env.lab.inside("server"):
        server = DnsServer(NAME_SERVER)
    if entry is not None:
        server.zone[name] = entry
    try:
        yield server
        wait_for(lambda: not server.later, "the name server has answers left")
    finally:
        server.close()


@contextlib.contextmanager
def network(env, port, drop=(), reset=()):
    """The service has all addresses of A and AAAA; some of them do not answer, or refuse."""
    env.lab.run("server", "ip", "route", "replace", "local", "10.77.9.0/24", "dev", "lo")
    env.lab.run("server", "ip", "-6", "route", "replace", "local", "fd77:9::/64", "dev", "lo")
    env.lab.run("router", "ip", "route", "replace", "10.77.9.0/24", "via", "10.77.2.2")
    env.lab.run("router", "ip", "-6", "route", "replace", "fd77:9::/64", "via", "fd77:2::2")
    rules = [f"{'ip6' if ':' in address else 'ip'} daddr {address} tcp dport {port} {what}"
             for addresses, what in ((drop, "drop"), (reset, "reject with tcp reset")) for address in addresses]
    with env.lab.nft(server="\n".join(rules)) if rules else contextlib.nullcontext():
        yield


class Watch:
    """Flows as they end, from the control socket; it is told of all that begin after it was made."""

    def __init__(self, env):
        self.sock = socket.socket(socket.AF_UNIX)
        env.open.append(self.sock)
        self.sock.settimeout(10)
        self.sock.connect(env.daemon.socket)
        self.sock.sendall(b'{"v":1,"cmd":"flows watch"}\n')
        self.lines = self.sock.makefile("r", encoding="utf-8")
        hello = json.loads(self.lines.readline())
        check(hello.get("ok"), f"flows watch: {hello}")

    def end_of(self, port):
        """The last event of the flow whose client has this port."""
        while line := self.lines.readline():
            event = json.loads(line)
            if event["event"] == "close" and str(event["source"]).endswith(f":{port}"):
                return event
        raise Failure("the control socket ended")

    def close(self):
        self.lines.close()
        self.sock.close()


def any_address(env):
    listener = env.socket("server", "v6")
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", 0))
    listener.listen(64)
    return listener


def plain(address):
    """Of the host alone, and IPv4 as itself."""
    ip = ipaddress.ip_address(address)
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def server_side(env, listener):
    """The connection over which the client's words come: one that lost may have been made as well."""
    listener.settimeout(5)
    while True:
        conn = env.accept(listener)
        with contextlib.suppress(ConnectionResetError):
            if conn.recv(5, socket.MSG_WAITALL) == b"hello":
                return conn


def connects(attempts):
    return [attempt for attempt in attempts if attempt["step"] == "connect"]


def parse(expected):
    """[(label, start)] and the label of the winner, or None."""
    words = [word.rstrip("+").split("@") for word in expected.split()]
    return [(label, int(start)) for label, start in words], words[-1][0] if expected.endswith("+") else None


def check_attempts(event, port, expected):
    """The addresses in their order, each in its time, each with its end."""
    wanted, winner = parse(expected)
    found = connects(event["attempts"])
    labels = [LABELS.get(attempt["address"].rpartition(":")[0].strip("[]"), attempt["address"]) for attempt in found]
    told = " ".join(f"{label}@{attempt['start_ms']}" for label, attempt in zip(labels, found))
    check(labels == [label for label, _ in wanted], f"attempts {told or 'none'}, expected {expected or 'none'}")
    for label, attempt, (_, start) in zip(labels, found, wanted):
        check(abs(attempt["start_ms"] - start) <= TOLERANCE_MS, f"attempts {told}, expected {expected}")
        check(attempt["address"].endswith(f":{port}"), f"{label} at {attempt['address']}, port {port}")
        check((attempt["result"] == "connected") == (label == winner), f"{label}: {attempt['result']}")
        check(attempt["result"] != "running", f"{label} still runs when all is over")


def check_questions(event, server, strategy, entry):
    """One of each wanted type, both at once; SERVFAIL may be asked again."""
    name, types = domain_of(strategy), {"ipv4_only": {"A"}, "ipv6_only": {"AAAA"}}.get(strategy, {"A", "AAAA"})
    asked = {kind: server.asked(name, kind) for kind in ("A", "AAAA")}
    check({kind for kind in asked if asked[kind]} == types, f"asked for {[q.type for q in server.asked(name)]}")
    check("rcode" in (entry or {}) or all(len(asked[kind]) == 1 for kind in types),
          f"asked {[(q.type, q.transport) for q in server.asked(name)]}")
    first = [asked[kind][0].time for kind in types]
    check(max(first) - min(first) < TOLERANCE_MS / 1000, "the questions did not go out together")
    steps = [attempt["step"] for attempt in event["attempts"] if attempt["step"] != "connect"]
    check(sorted(steps) == sorted(types), f"questions told: {steps}")


def once(env, strategy, entry, rules, expected):
    winner, before = parse(expected)[1], env.daemon.fds()
    listener, watch = any_address(env), Watch(env)
    port = listener.getsockname()[1]
    with name_server(env, domain_of(strategy), entry) as server, network(env, port, **rules):
        client = env.socket("client")
        client.bind(("", 0))  # the port is known even where connect() fails
        source = client.getsockname()[1]
        if winner:
            client.connect((SERVICE["v4"], port))
            client.sendall(b"hello")
            conn = server_side(env, listener)
            got = plain(conn.getsockname()[0])
            check(LABELS.get(got) == winner, f"{LABELS.get(got, got)} won, expected {expected}")
            client.shutdown(socket.SHUT_WR)
            expect_end(conn)
            conn.close()
            expect_end(client)
        else:
            with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
                client.connect((SERVICE["v4"], port))
                expect_reset(client, 10, drain=False)
        event = watch.end_of(source)
        check_attempts(event, port, expected)
        check_questions(event, server, strategy, entry)
    watch.close()
    listener.close()
    wait_for(lambda: env.daemon.fds() <= before, lambda: f"{env.daemon.fds()} files, {before} before")


def cell(env, strategy, entry, rules, expected):
    """A second try, because the times are real."""
    env.need_daemon()
    env.need_ctl()
    try:
        once(env, strategy, entry, rules, expected)
    except Failure as failure:
        env.note(f"again: {failure}")
        env.daemon.wait_idle()
        once(env, strategy, entry, rules, expected)


def client_gone(env, strategy):
    """Everything that runs for a client ends with it."""
    env.need_daemon()
    env.need_ctl()
    listener, before = any_address(env), env.daemon.fds()
    port = listener.getsockname()[1]

    def dials():
        return env.lab.run("router", "ss", "-Htn", "state", "syn-sent", f"dport = :{port}").splitlines()

    with name_server(env, domain_of(strategy), BOTH), network(env, port, drop=A + AAAA):
        client = env.connect((SERVICE["v4"], port))
        wait_for(lambda: len(dials()) == 2, "no two attempts at a time", every=0.005)
        reset(client)
        wait_for(lambda: not dials(), "attempts go on without a client", seconds=0.4)
    wait_for(lambda: env.daemon.fds() <= before, lambda: f"{env.daemon.fds()} files, {before} before")


def gone_while_asking(env, strategy):
    """The answer comes when nobody waits for it."""
    env.need_daemon()
    env.need_ctl()
    before, listener = env.daemon.fds(), any_address(env)
    port, entry = listener.getsockname()[1], BOTH | {"delay": SLOW}
    with name_server(env, domain_of(strategy), entry) as server, network(env, port):
        client = env.connect((SERVICE["v4"], port))
        wait_for(lambda: len(server.asked(domain_of(strategy))) == 2, "no two questions")
        reset(client)
        env.daemon.wait_idle(SLOW / 2)
        wait_for(lambda: not server.later, "the name server has answers left")
        time.sleep(0.05)
        listener.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            raise Failure(f"connected for nobody: {listener.accept()[1]}")
    wait_for(lambda: env.daemon.fds() <= before, lambda: f"{env.daemon.fds()} files, {before} before")


def main():
    suite = Suite()
    for number, strategy in enumerate(STRATEGIES):
        config = config_of(strategy)
        for name, (entry, rules, *expected) in CELLS.items():
            suite.add(f"eyeballs/{strategy}/{name}", cell, config, seconds=30, strategy=strategy, entry=entry,
                      rules=rules, expected=expected[number])
        if strategy.startswith("prefer"):
            suite.add(f"eyeballs/{strategy}/client-gone", client_gone, config, strategy=strategy)
            suite.add(f"eyeballs/{strategy}/gone-while-asking", gone_while_asking, config, strategy=strategy)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
