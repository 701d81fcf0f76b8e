#!/usr/bin/python3
"""UDP with the programs people run: dig and dnsperf against unbound, QUIC of ngtcp2, STUN of coturn, iperf3, sipp; and
proxies as outbounds for datagrams, danted and v2ray."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from datagrams import (CONNECTED, ELSEWHERE, UdpConfig, address_of, burst, client_of, datagram, exchange, restart, run,
                       running, server_of, sessions_of, silent, take)
from lab import SERVICE
from seamtest import FAMILIES, Suite
from test_options import CLIENT
from test_outbounds import SOCKS, UUID, VLESS, danted, proxy, v2ray
from test_udp_routing import name_server, routed
from verdict import check, wait_for

IP = {"v4": "-4", "v6": "-6"}


def bracketed(family, address=None):
    address = address or SERVICE[family]
    return f"[{address}]" if family == "v6" else address


# DNS --------------------------------------------------------------------------------------------------

UNBOUND = """server:
 do-daemonize: no
 use-syslog: no
 username: ""
 chroot: ""
 directory: FOLDER
 pidfile: FOLDER/pid
 num-threads: 1
 interface: 10.77.9.9
 interface: fd77:9::9
 interface: 10.77.2.2
 access-control: 0.0.0.0/0 allow
 access-control: ::/0 allow
 module-config: iterator
 local-zone: test. static
 local-data: "name.test. A 10.0.0.53"
 local-data: "name.test. AAAA fd00::53"
 {many}
remote-control:
 control-enable: no
"""


def unbound(env):
    many = "\n ".join(f'local-data: "long.test. A 10.1.{i // 200}.{i % 200}"' for i in range(250))
    return running(env, "server", "unbound", "-d", "-c", "FOLDER/unbound.conf",
                   files={"unbound.conf": UNBOUND.format(many=many)}, ready=53)


def dig(env, family, *words):
    return run(env, "client", "dig", IP[family], f"@{SERVICE[family]}", "+tries=1", "+time=5", "+nocookie", *words)


def check_dig(env, family):
    """What dig finds through seam; too long for UDP it goes on over TCP."""
    check("10.0.0.53" in dig(env, family, "name.test", "A"), "no A")
    check("fd00::53" in dig(env, family, "name.test", "AAAA"), "no AAAA")
    check("NXDOMAIN" in dig(env, family, "nobody.test"), "not NXDOMAIN")
    short = dig(env, family, "long.test", "+bufsize=512", "+ignore")
    check(re.search(r"flags:[^;]* tc[ ;]", short), f"no TC: {short}")
    check(dig(env, family, "long.test", "+bufsize=512").count("10.1.") == 250, "not all of them over TCP")
    check(dig(env, family, "long.test", "+bufsize=4096", "+ignore").count("10.1.") in range(200, 251) or
          "tc" in short, "the long answer did not come over UDP")


def dig_unbound(env, family):
    with unbound(env):
        check_dig(env, family)


def dig_hijacked(env, family):
    """Answered by seam itself, whoever was asked."""
    restart(env)
    name_server(env)
    address = {"v4": "192.0.2.53", "v6": "2001:db8::53"}[family]

    def asked(*words):
        return run(env, "client", "dig", IP[family], f"@{address}", "+tries=1", "+time=5", *words)

    check(SERVICE["v4"] in asked("both.test"), "no A")
    check(SERVICE["v6"] in asked("both.test", "AAAA"), "no AAAA")
    check("NXDOMAIN" in asked("nobody.test"), "not NXDOMAIN")
    check(re.search(r"flags:[^;]* tc[ ;]", asked("long.test", "+noedns", "+ignore")), "no TC without EDNS")
    for words in (("+noedns",), ("+bufsize=512",), ("+bufsize=4096", "+ignore"), ("+tcp",)):
        found = asked("long.test", *words).count("10.1.")
        check(found == 150, f"dig {words}: {found} of 150 addresses")


def dnsperf(env, family):
    """20 clients, each with its socket, for 2 s: nothing is lost."""
    with unbound(env):
        folder = tempfile.TemporaryDirectory(prefix="seamtest-")
        with folder:
            path = pathlib.Path(folder.name, "questions")
            path.write_text("name.test A\nname.test AAAA\nnobody.test A\n", encoding="ascii")
            said = run(env, "client", "dnsperf", "-s", SERVICE[family], "-d", path, "-l", "2", "-c", "20", "-q", "100",
                       "-t", "3", "-Q", "20000")
        found = dict(re.findall(r"(Queries [\w ]+|Response codes):\s+(\S+)", said))
        env.note(f"{found.get('Queries per second')} a second, {found.get('Queries lost')} lost")
        check(int(found["Queries completed"]) > 1000 and found["Queries lost"] == "0", said)


# QUIC -------------------------------------------------------------------------------------------------

def certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-subj", "/CN=exact.test", "-days",
                    "2"], check=True, capture_output=True)


def quic(env, family, words, size=8 << 20):
    """A download of @size bytes; @words: of the client, as for migration."""
    with tempfile.TemporaryDirectory(prefix="seamtest-") as folder:
        certificate(folder)
        page = pathlib.Path(folder, "page")
        page.write_bytes(datagram(1, size))
        with running(env, "server", "gtlsserver", "-q", f"--htdocs={folder}", SERVICE[family], 7640,
                     f"{folder}/key.pem", f"{folder}/cert.pem", ready=7640):
            got = pathlib.Path(folder, "got")
            got.mkdir()
            started = time.monotonic()
            said = run(env, "client", "gtlsclient", "--no-quic-dump", "--no-http-dump", "--sni=exact.test",
                       f"--download={got}", "--exit-on-all-streams-close", "--timeout=10s", *words, SERVICE[family],
                       7640, "https://exact.test:7640/page")
            took = time.monotonic() - started
        check((got / "page").exists() and (got / "page").read_bytes() == page.read_bytes(),
              f"not the file that was asked for: {said[-500:]}")
        env.note(f"{size >> 20} MiB in {took:.1f} s")
        return said


def quic_migrates(env, family, words):
    """The client goes on from another port in the middle: another session, the same connection."""
    said = quic(env, family, ("--change-local-addr=20ms", "--delay-stream=100ms", *words), 4 << 20)
    env.note("migrated" if re.search(r"(?i)path.*validat|changing local address|Local address is now", said) else
             f"the client tells nothing of migration: {said[-200:]!r}")


# STUN -------------------------------------------------------------------------------------------------

def turnserver(env):
    """At two addresses and two ports, as RFC 5780 wants it."""
    return running(env, "server", "turnserver", "-n", "-S", "--listening-port=3478", "--alt-listening-port=3479",
                   "-L", SERVICE["v4"], "-L", ELSEWHERE["v4"], "--log-file=stdout", "--no-cli", "--no-tls",
                   "--no-dtls", "--pidfile=FOLDER/pid", "--db=FOLDER/db", ready=3478)


def stun(env):
    """coturn's own judgement of the translation: mapping and filtering do not depend on the endpoint."""
    with turnserver(env):
        mapped = run(env, "client", "turnutils_natdiscovery", "-m", SERVICE["v4"])
        check("Endpoint Independent Mapping" in mapped or (not env.daemon.present and "No NAT" in mapped), mapped)
        check("reflexive addr: 10.77.2.1:" in mapped or not env.daemon.present, f"not the router's address: {mapped}")
        filtered = run(env, "client", "turnutils_natdiscovery", "-f", SERVICE["v4"])
        check("Endpoint Independent Filtering" in filtered, filtered)


def stun_connected(env):
    """The proof's proof: with udp_connect both depend on it."""
    env.need_daemon()
    with turnserver(env):
        mapped = run(env, "client", "turnutils_natdiscovery", "-m", SERVICE["v4"])
        check("Dependent Mapping" in mapped, mapped)
        filtered = run(env, "client", "turnutils_natdiscovery", "-f", SERVICE["v4"], seconds=30)
        check("Dependent Filtering" in filtered, filtered)


# Streams of datagrams ---------------------------------------------------------------------------------

def iperf3(env, family, back):
    """2 s of 20 Mbit/s in datagrams of 1200 bytes."""
    port = 5201
    with running(env, "server", "iperf3", "-s", "-p", port, "-B", SERVICE[family], "--forceflush",
                 ready=lambda said: "listening" in said):
        said = run(env, "client", "iperf3", "-u", "-c", SERVICE[family], "-p", port, "-b", "20M", "-l", "1200", "-t",
                   "2", "-J", *(["-R"] if back else []))
    told = json.loads(said)["end"]["sum"]
    env.note(f"{told['packets']} datagrams, {told['lost_packets']} lost, {told['bits_per_second'] / 1e6:.0f} Mbit/s")
    check(told["packets"] > 3000 and told["lost_percent"] < 1, f"{told}")


def sipp(env, family):
    """50 calls of sipp's own scenarios."""
    with running(env, "server", "sipp", "-sn", "uas", "-i", bracketed(family), "-p", "5060", "-nostdin", "-t", "u1",
                 ready=5060):
        address = bracketed(family, CLIENT[family])
        said = run(env, "client", "sipp", "-sn", "uac", "-i", address, "-p", "5070", "-nostdin", "-t", "u1", "-m", "50",
                   "-r", "50", "-d", "100", "-timeout", "15", f"{bracketed(family)}:5060")
    check(re.search(r"Successful call\s*\|\s*\d+\s*\|\s*50\s", said), said[-1500:])


# Proxies ----------------------------------------------------------------------------------------------

PEERS = {"socks5": (danted, "socks", SOCKS, {"version": "5"}), "vless": (v2ray, "vless", VLESS, {"uuid": UUID})}


def by(kind, family, **more):
    _, name, port, options = PEERS[kind]
    return UdpConfig(final="out", outbounds=[proxy(name, port, family, **options)], **more)


def proxied(env, kind, family):
    """Of all sizes, both ways, and the server sees the proxy."""
    env.need_daemon()
    with PEERS[kind][0](env, family):
        client, server = client_of(env, family), server_of(env, family)
        peer = exchange(client, server)
        check(peer[0] == SERVICE[family], f"the server sees {peer}, not the proxy")
        for size in (1, 64, 1200, 1472, 2000):  # v2ray cuts at 2048
            check(burst(client, address_of(server), server, size, 20, 5) == peer, "another source")
            burst(server, peer, client, size, 20, 5)
        clients = [client_of(env, family) for _ in range(20)]
        for _ in range(3):
            for one in clients:
                exchange(one, server)


def proxied_many(env, kind, family):
    """One socket and several servers: each answer has its sender."""
    env.need_daemon()
    with PEERS[kind][0](env, family):
        client = client_of(env, family)
        # asked for a second IPv6 address, danted is silent
        other = SERVICE if (kind, family) == ("socks5", "v6") else ELSEWHERE
        servers = [server_of(env, family, address=address) for address in
                   (SERVICE[family], other[family], SERVICE[family])]
        for _ in range(3):
            for server in servers:
                exchange(client, server)


def proxied_quic(env, kind, family):
    env.need_daemon()
    with PEERS[kind][0](env, family):
        quic(env, family, (), 2 << 20)


def end_danted(env):
    """Its children go on with what they have when their mother ends."""
    for pid in subprocess.run(["ip", "netns", "pids", f"{env.lab.name}-server"], capture_output=True, text=True,
                              check=True).stdout.split():
        with contextlib.suppress(OSError):
            if pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="ascii").startswith("danted"):
                os.kill(int(pid), signal.SIGKILL)


def proxy_gone(env, kind, family):
    """Without a proxy nothing arrives and sessions end; with it again they are new."""
    restart(env)
    client, server = client_of(env, family), server_of(env, family)
    for _ in range(3):
        client.sendto(b"nobody", address_of(server))
    silent(server)
    with PEERS[kind][0](env, family):
        client.sendto(b"hello", address_of(server))
        time.sleep(0.2)
        client = client_of(env, family)
        exchange_late(client, server)
    end_danted(env)
    wait_for(lambda: not [session for session in sessions_of(env, client) if session.get("replied")],
             "a session without its proxy goes on", 5)
    with PEERS[kind][0](env, family):
        exchange_late(client, server)


def exchange_late(client, server):
    """Whatever was on its way before may still come."""
    client.sendto(b"question", address_of(server))
    while (got := server.recvfrom(100))[0] != b"question":
        pass
    server.sendto(b"answer", got[1])
    take(client, b"answer", address_of(server))


def cases_of(suite, family):
    plain, routes = UdpConfig(), routed()
    suite.add(f"udp-clients/dig/{family}", dig_unbound, plain, family=family)
    suite.add(f"udp-clients/dig/{family}/connected", dig_unbound, CONNECTED, family=family)
    suite.add(f"udp-clients/dnsperf/{family}", dnsperf, plain, family=family)
    suite.add(f"udp-clients/quic/{family}", quic, plain, 30, family=family, words=())
    suite.add(f"udp-clients/quic/{family}/migrates", quic_migrates, plain, 30, family=family, words=())
    suite.add(f"udp-clients/quic/{family}/rebinding", quic_migrates, plain, 30, family=family,
              words=("--nat-rebinding",))
    for back in (False, True):
        suite.add(f"udp-clients/iperf3/{family}/{'down' if back else 'up'}", iperf3, plain, family=family, back=back)
    suite.add(f"udp-clients/sipp/{family}", sipp, plain, 25, family=family)
    suite.add(f"udp-clients/dig/{family}/hijacked", dig_hijacked, routes, family=family)
    suite.add(f"udp-clients/quic/{family}/sniffed", quic, routes, 30, family=family, words=())
    for kind in PEERS:
        config = by(kind, family)
        for func in (proxied, proxied_many, proxied_quic, proxy_gone):
            suite.add(f"udp-clients/{func.__name__.replace('_', '-')}/{kind}/{family}", func, config, 30, kind=kind,
                      family=family)


def main():
    suite = Suite()
    for family in FAMILIES:
        cases_of(suite, family)
    suite.add("udp-clients/stun", stun, UdpConfig(), 30)
    suite.add("udp-clients/stun/connected", stun_connected, CONNECTED, 40)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
