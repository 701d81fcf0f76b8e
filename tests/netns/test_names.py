#!/usr/bin/python3
"""Where a connection goes: override_address and override_port, names and their resolver, its cache, its ends; and the
UDP sockets of the questions."""
import dataclasses
import errno
import json
import re
import socket
import sys
import time

from daemon import Config
from lab import SERVICE
from seamtest import Suite
from streams import MIB
from verdict import check, wait_for
from wire import (WAN0, WAN1, Capture, Names, by_name, connects, direct, fails, forget, named, same_bytes, source_of)

LONG_NAME = ".".join(["x" * 60] * 4)
ELSEWHERE = {"v4": "10.77.2.2", "v6": "fd77:2::2"}  # also the server's, but nothing listens there


@dataclasses.dataclass(frozen=True)
class OneWorker(Config):
    """So that there is one cache."""

    def text(self, control):
        return json.dumps(json.loads(super().text(control)) | {"workers": 1}, indent=1)


def override(env, family, listening, port=0):
    """The client asks for a place where nobody is, and gets to @listening."""
    env.need_daemon()
    listener = env.socket("server", listening)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((SERVICE[listening], port))
    listener.listen()
    there = (SERVICE[family] if port else ELSEWHERE[family], 9 if port else listener.getsockname()[1])
    client = env.connect(there, family)
    server = env.accept(listener)
    check(client.getpeername()[0] == there[0] and source_of(server) == WAN0[listening], f"the server sees {server}")
    same_bytes(env, client, server, MIB)


def resolver(strategy="prefer_ipv4", **members):
    return named(kind=OneWorker, to_name={"domain_resolver": {"server": "dns", "strategy": strategy}} | members)


def call(env, port):
    """A client of IPv4; where NAME leads to is not its choice."""
    client = env.connect((ELSEWHERE["v4"], port))
    client.sendall(b"hello")
    return client


def services(env):
    """Listeners on one port of both families."""
    listener = env.listen("v6")
    other = env.socket("server", "v4")
    other.bind((SERVICE["v4"], listener.getsockname()[1]))
    other.listen()
    return {"v4": other, "v6": listener}


def strategy(env, types, family):
    """Only the questions that matter are asked, at once; the preferred family is taken."""
    env.need_ctl()
    dns, listeners = Names(env, "v4", SERVICE.values(), delay=0.2), services(env)
    client = call(env, listeners[family].getsockname()[1])
    server = env.accept(listeners[family])
    check(server.recv(5, socket.MSG_WAITALL) == b"hello", "got something else")
    check(dns.types() == types, f"asked for {dns.types()}")
    check(dns.questions[-1].time - dns.questions[0].time < 0.1, "one question after the other")
    attempts = env.daemon.flow_of(client)["attempts"]
    check(sorted(attempt["step"] for attempt in attempts) == types + ["connect"], f"the trace has {attempts}")
    check(connects(env, client)[0]["result"] == "connected", f"the trace has {attempts}")


def cache(env, ttl, asks):
    """Asked once, and again when the answer is too old."""
    forget(env)
    dns, listeners = Names(env, "v4", [SERVICE["v4"]], ttl=ttl), services(env)
    for number in range(4):
        if number == 3:
            time.sleep(1.2)
        client = call(env, listeners["v4"].getsockname()[1])
        env.accept(listeners["v4"])
        client.close()
    check(dns.types().count("A") == asks, f"asked for {dns.types()}")


def by_tcp(env, family):
    dns, _, _ = by_name(env, family)
    check({question.transport for question in dns.questions} == {"tcp"}, f"the name server saw {dns.questions}")
    check(dns.sources() == {WAN1[family]}, f"the name server saw {dns.questions}")


def second_server(env):
    """Of two servers the one that domain_resolver names."""
    env.need_daemon()
    first, second = (Names(env, family, [SERVICE["v4"]]) for family in ("v4", "v6"))
    listeners = services(env)
    call(env, listeners["v4"].getsockname()[1])
    env.accept(listeners["v4"])
    check(second.questions and not first.questions, f"the first saw {first.questions}, the second {second.questions}")


def no_name(env):
    forget(env)
    Names(env, "v4", [SERVICE["v4"]], "other.test")
    fails(env, (SERVICE["v4"], 9), "v4", "dial-failed", ("NXDOMAIN",), between=(0, 1))


def no_address(env):
    """The name is there, but it has no address."""
    forget(env)
    Names(env, "v4", [])
    fails(env, (SERVICE["v4"], 9), "v4", "dial-failed", ("no such record",), between=(0, 1))


def silent_server(env):
    env.need_daemon()
    dns = Names(env, "v4", [], silent=True)
    fails(env, (SERVICE["v4"], 9), "v4", "dial-timeout", between=(0.8, 1.2))
    check(dns.questions, "no question")


def client_gone(env):
    """Who gives up while the name is looked up leaves nothing behind."""
    forget(env)
    dns = Names(env, "v4", [], silent=True)
    client = env.connect((SERVICE["v4"], 9))
    wait_for(lambda: dns.questions, "no question")
    client.close()
    env.daemon.wait_idle(0.5)


def reuse_addr(env, family, works):
    """While a question is under way, another socket that would share its port may have it, or not."""
    env.need_daemon()
    dns = Names(env, family, [], silent=True)
    client = env.connect((SERVICE[family], 9), family)
    wait_for(lambda: dns.questions, "no question")
    asking = re.search(r":(\d+)\s+\S+:53\b", env.lab.run("router", "ss", "-Huan", "dport = :53"))
    check(asking, "no socket asks")
    port = int(asking[1])
    with env.lab.inside("router"):
        other = socket.socket(socket.AF_INET6 if family == "v6" else socket.AF_INET, socket.SOCK_DGRAM)
    env.open.append(other)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        other.bind(("::" if family == "v6" else "", port))
        check(works, f"port {port} is shared")
    except OSError as e:
        check(e.errno == errno.EADDRINUSE and not works, f"port {port}: {e}")
    client.close()


def udp_fragment(env, allowed):
    """A question that does not fit into one packet leaves as two, or not at all."""
    env.need_daemon()
    capture, route = Capture(env, "wan0", 53), ("10.77.9.9/32", "via", "10.77.2.2", "dev", "wan0", "metric", "10")
    env.lab.run("router", "ip", "route", "replace", *route, "mtu", "200")
    try:
        if allowed:
            by_name(env, "v4", LONG_NAME)
            check(all(packet.more and not packet.df for packet in capture.packets()), f"sent {capture.seen}")
        else:
            dns = Names(env, "v4", [SERVICE["v4"]], LONG_NAME)
            fails(env, (SERVICE["v4"], 9), "v4", "dial-failed", ("server unreachable",))
            check(not dns.questions and not capture.packets(), f"sent {capture.seen}")
    finally:
        env.lab.run("router", "ip", "route", "replace", *route)
    if not allowed:
        forget(env)
        fails(env, (SERVICE["v4"], 9), "v4", "dial-failed", ("Connection refused",))
        check(capture.packets() and all(packet.df for packet in capture.packets()), f"sent {capture.seen}")


def cases_of_names(suite):
    for name, types, family in (("ipv4_only", ["A"], "v4"), ("ipv6_only", ["AAAA"], "v6"),
                                ("prefer_ipv4", ["A", "AAAA"], "v4"), ("prefer_ipv6", ["A", "AAAA"], "v6")):
        suite.add(f"options/names/{name}", strategy, resolver(name), types=types, family=family)
    plain, short = resolver(), resolver(dial_timeout="1s")
    suite.add("options/names/cached", cache, plain, ttl=300, asks=1)
    suite.add("options/names/outdated", cache, plain, ttl=1, asks=2)
    servers = [plain.dns["servers"][0] | {"tag": f"of-{family}", "server": SERVICE[family]} for family in ("v4", "v6")]
    outbounds = [plain.outbounds[0] | {"domain_resolver": "of-v6"}, *plain.outbounds[1:]]
    suite.add("options/names/second-server", second_server,
              dataclasses.replace(plain, outbounds=outbounds, dns={"servers": servers, "final": "of-v4"}))
    suite.add("options/names/none", no_name, plain)
    suite.add("options/names/no-address", no_address, plain)
    suite.add("options/names/silent-server", silent_server, short)
    suite.add("options/names/client-gone", client_gone, short)


def cases_of_questions(suite):
    for family in ("v4", "v6"):
        suite.add(f"options/dns-tcp/{family}", by_tcp, named(family, "tcp", bind_interface="wan1"), family=family)
        for shared in (True, False):
            suite.add(f"options/reuse-addr/{family}/{shared}", reuse_addr,
                      named(family, to_name={"dial_timeout": "3s"}, reuse_addr=shared), family=family, works=shared)
    for allowed in (True, False):
        suite.add(f"options/udp-fragment/{allowed}", udp_fragment, named(name=LONG_NAME, udp_fragment=allowed),
                  allowed=allowed)


def main():
    suite = Suite()
    for family in ("v4", "v6"):
        for other in ("v4", "v6"):
            suite.add(f"options/override-address/{family}-{other}", override, direct(override_address=SERVICE[other]),
                      family=family, listening=other)
        suite.add(f"options/override-port/{family}", override, direct(override_port=7001), family=family,
                  listening=family, port=7001)
    cases_of_names(suite)
    cases_of_questions(suite)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
