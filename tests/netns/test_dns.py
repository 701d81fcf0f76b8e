#!/usr/bin/python3
"""Questions over TCP to any server, answered by the daemon (rule action hijack-dns): by which server, with what; and
the names of addresses, by which later connections are routed."""
import json
import socket
import struct
import sys

from daemon import Config
from dnsserver import DnsServer
from lab import SERVICE
from seamtest import Suite
from streams import expect_reset
from verdict import check, wait_for

FIRST, SECOND = "10.77.2.2", "fd77:2::2"  # two name servers; nobody answers at the address that clients ask
ASKED = {"v4": ("10.77.9.99", 53), "v6": ("fd77:9::99", 53)}
TYPES = {"A": 1, "TXT": 16, "AAAA": 28, "AXFR": 252}
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)


class Raw(dict):
    """A part of a configuration as it stands in the file; a Config must be hashable."""

    def __hash__(self):
        return hash(json.dumps(self, sort_keys=True))


def config_of(**dns):
    servers = [Raw(type="udp", tag="first", server=FIRST), Raw(type="tcp", tag="second", server=SECOND)]
    rules = [Raw(domain_suffix=["second.test"], server="second")]
    return Config("copy", dns=Raw(servers=servers, final="first", rules=rules, reverse_mapping=True, **dns),
                  route=Raw(rules=[Raw(port=53, action="hijack-dns"),
                                   Raw(domain_suffix=["blocked.test"], action="route", outbound="block")]))


def name_servers(env):
    """Both, with one zone each; closed when the case is over."""
    env.need_daemon()
    with env.lab.inside("server"):
        servers = DnsServer(FIRST), DnsServer(SECOND)
    env.open.extend(NeverShut(server) for server in servers)
    servers[0].zone.update({
        "a.test": {"A": [SERVICE["v4"]], "AAAA": [SERVICE["v6"]], "TXT": ["hello"]},
        "own.test": {"A": [SERVICE["v4"]]},
        "slow.test": {"A": [SERVICE["v4"]], "delay": 0.5},
        "big.test": {"TXT": [f"{i:0200}" for i in range(20)]},
        "failing.test": {"rcode": "SERVFAIL"},
        "www.blocked.test": {"A": [SERVICE["v4"]], "AAAA": [SERVICE["v6"]]},
        "free.test": {"A": [SERVICE["v4"]], "AAAA": [SERVICE["v6"]]},
    } | {f"n{i}.test": {"A": [f"10.77.100.{i}"], "delay": 0.01 * (i % 7)} for i in range(50)})
    servers[1].zone["second.test"] = servers[1].zone["www.second.test"] = {"A": ["10.77.9.2"]}
    return servers


class NeverShut:
    """A name server among the sockets of a case."""

    def __init__(self, server):
        self.server = server

    def shutdown(self, _):
        pass

    def close(self):
        self.server.close()


def question(name, kind="A", number=1, flags=0x100, count=1):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    message = struct.pack("!6H", number, flags, count, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", TYPES[kind], 1)
    return struct.pack("!H", len(message)) + message


def exactly(client, size):
    data = b""
    while len(data) < size:
        more = client.recv(size - len(data))
        check(more, f"the connection ended after {len(data)} of {size} bytes")
        data += more
    return data


class Answer:
    """The next one on a connection."""

    def __init__(self, client):
        self.bytes = exactly(client, struct.unpack("!H", exactly(client, 2))[0])
        self.id, flags, questions, count, _, _ = struct.unpack_from("!6H", self.bytes)
        check(flags & 0x8000, "not an answer")
        self.rcode, self.data, self.ttls, at = flags & 15, [], [], 12
        for _ in range(questions):
            at = self.skip_name(at) + 4
        for _ in range(count):
            at = self.skip_name(at)
            _, _, ttl, size = struct.unpack_from("!HHIH", self.bytes, at)
            self.ttls.append(ttl)
            self.data.append(self.bytes[at + 10:at + 10 + size])
            at += 10 + size

    def skip_name(self, at):
        while 0 < self.bytes[at] < 0xc0:
            at += 1 + self.bytes[at]
        return at + (2 if self.bytes[at] else 1)


def ask(client, name, kind="A", number=1, **more):
    client.sendall(question(name, kind, number, **more))
    answer = Answer(client)
    check(answer.id == number, f"answer {answer.id} to question {number}")
    return answer


def expect_rcode(answer, rcode):
    check(answer.rcode == rcode and not answer.data, f"rcode {answer.rcode}, not {rcode}: {answer.data}")


def types(env, family):
    """One connection, one question after the other; the second time from the cache."""
    first, _ = name_servers(env)
    client = env.connect(ASKED[family], family)
    for _ in range(2):
        check(ask(client, "A.test").data == [socket.inet_aton(SERVICE["v4"])], "A")
        check(ask(client, "a.Test", "AAAA").data == [socket.inet_pton(socket.AF_INET6, SERVICE["v6"])], "AAAA")
        check(ask(client, "a.test", "TXT").data == [b"\5hello"], "TXT")
        expect_rcode(ask(client, "nothing.test"), NXDOMAIN)
        expect_rcode(ask(client, "slow.test", "TXT"), NOERROR)
        check(len(ask(client, "big.test", "TXT").data) == 20, "an answer of 4 KiB is not whole")
    for kind in ("A", "AAAA", "TXT"):
        check(len(first.asked("a.test", kind)) <= 1, f"{kind} was asked again")
    check([asked.transport for asked in first.asked("big.test")][:2] == ["udp", "tcp"], "truncation")
    client.shutdown(socket.SHUT_WR)
    check(client.recv(1) == b"", "no FIN")


def errors(env):
    name_servers(env)
    client = env.connect(ASKED["v4"])
    expect_rcode(ask(client, "failing.test"), SERVFAIL)
    expect_rcode(ask(client, "a.test", "AXFR"), REFUSED)
    expect_rcode(ask(client, "a.test", flags=0x2100), NOTIMP)
    expect_rcode(ask(client, "a.test", count=2), FORMERR)
    check(ask(client, "a.test").data, "nothing more is answered")


def pipelined(env):
    """50 questions and FIN in one go: each is answered once, the slow ones hold up nobody."""
    name_servers(env)
    client = env.connect(ASKED["v4"])
    client.sendall(question("slow.test", number=999) + b"".join(question(f"n{i}.test", number=i) for i in range(50)))
    client.shutdown(socket.SHUT_WR)
    answers = [Answer(client) for _ in range(51)]
    check(client.recv(1) == b"", "no FIN")
    check(answers[0].id != 999, "the slow one came first")
    for answer in answers:
        expected = SERVICE["v4"] if answer.id == 999 else f"10.77.100.{answer.id}"
        check(answer.data == [socket.inet_aton(expected)], f"{answer.id}: {answer.data}")
    check(sorted(answer.id for answer in answers) == list(range(50)) + [999], "not each once")


def garbage(env, data):
    """It ends; what was asked before is answered."""
    name_servers(env)
    client = env.connect(ASKED["v4"])
    client.sendall(question("a.test") + data)
    check(Answer(client).data, "no answer to what came before")
    try:
        check(client.recv(1) == b"", "more than an answer")
    except ConnectionResetError:
        pass  # there was more behind it


def rules(env):
    """dns.rules by the name asked for."""
    first, second = name_servers(env)
    client = env.connect(ASKED["v6"], "v6")
    for name in ("second.test", "www.second.test"):
        check(ask(client, name).data == [socket.inet_aton("10.77.9.2")], name)
        check(not first.asked(name) and second.asked(name)[0].transport == "tcp", f"{name} at the wrong server")
    check(ask(client, "own.test").data and first.asked("own.test") and not second.asked("own.test"), "own.test")


def reverse(env, family):
    """The name that an address was an answer for last decides, on whichever worker."""
    name_servers(env)
    kind = "AAAA" if family == "v6" else "A"
    client, listener = env.connect(ASKED["v4"]), env.listen(family)
    check(ask(client, "www.blocked.test", kind).data, "no answer")
    for _ in range(8):  # several workers
        blocked = env.socket("client", family)
        try:
            blocked.connect(listener.getsockname()[:2])
            expect_reset(blocked, 5, drain=False)
        except ConnectionResetError:
            pass
    check(ask(client, "free.test", kind).data, "no answer")
    for _ in range(8):
        free = env.connect(listener.getsockname(), family)
        env.accept(listener).sendall(b"x")
        check(exactly(free, 1) == b"x", "not relayed")


def strategy(env):
    first, _ = name_servers(env)
    client = env.connect(ASKED["v4"])
    expect_rcode(ask(client, "a.test", "AAAA"), NOERROR)
    check(not first.asked("a.test"), "AAAA was asked")
    check(ask(client, "a.test").data, "A")


def idle(env):
    """10 s without a question."""
    name_servers(env)
    client = env.connect(ASKED["v4"])
    check(ask(client, "a.test").data, "A")
    client.settimeout(15)
    check(client.recv(1) == b"", "no FIN")
    wait_for(lambda: not env.daemon.has_ctl or not env.daemon.flows(), "the flow is still there")


def main():
    suite, config = Suite(), config_of()
    for family in ("v4", "v6"):
        suite.add(f"dns/types/{family}", types, config, family=family)
        suite.add(f"dns/reverse/{family}", reverse, config, 60, family=family)
    suite.add("dns/errors", errors, config)
    suite.add("dns/pipelined", pipelined, config)
    for name, data in (("empty", b"\0\0"), ("short", b"\0\3abc"), ("http", b"GET / HTTP/1.0\r\n\r\n")):
        suite.add(f"dns/garbage-{name}", garbage, config, data=data)
    suite.add("dns/rules", rules, config)
    suite.add("dns/idle", idle, config, 40)
    suite.add("dns/strategy", strategy, config_of(strategy="ipv4_only"))
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
