#!/usr/bin/python3
"""UDP sessions are never more than was configured, whoever sends.
SEAM_UDP_SOURCES=1000000 floods with that many invented sources (default 50000)."""
import contextlib
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

from daemon import SEAMD
from datagrams import (UdpConfig, address_of, client_of, exchange, metric, restart, server_of, sessions, sessions_of,
                       udp)
from lab import SERVICE
from seamtest import Suite
from streams import MIB, Stream, ping_pong, receive, send, whole_blocks
from test_options import CLIENT
from verdict import check, wait_for

SOURCES = int(os.environ.get("SEAM_UDP_SOURCES", "50000"))
FLOOD = str(pathlib.Path(__file__).with_name("flood.py"))
CAP, HOST_CAP = 2000, 100



# Floods -----------------------------------------------------------------------------------------------

def router_mac(env):
    return re.search(r"link/ether (\S+)", env.lab.run("router", "ip", "link", "show", "lan0"))[1]


def flood(env, port, count, sources, size=0, seconds=60):
    """How many were sent."""
    argv = ["nsenter", f"--net={env.lab.path('client')}", FLOOD, "lan0", router_mac(env), SERVICE["v4"], port, count,
            sources, size, seconds]
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=True)
    return int(done.stdout)


def rss_mib(env):
    status = pathlib.Path(f"/proc/{env.daemon.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def sanitized():
    return b"__asan_init" in pathlib.Path(SEAMD).read_bytes()


@contextlib.contextmanager
def swallowed(env, port):
    """What goes to this port is not answered, by ICMP neither."""
    with env.lab.nft(server=f"udp dport {port} drop"):
        yield


def spoofed(env):
    """Sessions, files and memory stay within the caps; who was answered keeps his session."""
    restart(env)
    server, clients = server_of(env), [client_of(env) for _ in range(20)]
    peers = [exchange(client, server) for client in clients]
    files, count = env.daemon.fds(), metric(env, "seam_udp_sessions")
    check(count == 20, f"seam_udp_sessions is {count}")
    with swallowed(env, 9):
        started = time.monotonic()
        sent = flood(env, 9, SOURCES // 2, SOURCES // 2)
        env.note(f"{sent} datagrams in {time.monotonic() - started:.1f} s")
        first = rss_mib(env)
        most_files, most = env.daemon.fds(), metric(env, "seam_udp_sessions")
        task = env.spawn(flood, env, 9, SOURCES, SOURCES)
        while task.is_alive():
            most_files, most = max(most_files, env.daemon.fds()), max(most, metric(env, "seam_udp_sessions"))
            for client in clients[:5]:
                server.sendto(b"meanwhile", peers[clients.index(client)])
            time.sleep(0.1)
        sent = task.result()
    last = rss_mib(env)
    env.note(f"{sent} datagrams; at most {most} sessions and {most_files} files, {first:.0f} MiB, then {last:.0f} MiB")
    check(most <= CAP and most >= CAP // 2, f"{most} sessions")
    check(most_files <= files + CAP + 100, f"{most_files} files, {files} before")
    check(last <= first + 32 + (0 if not sanitized() else 256), f"{first:.0f} MiB grew to {last:.0f} MiB")
    for client, peer in zip(clients, peers):
        server.sendto(b"last", peer)
        while (got := client.recvfrom(100)) and got[0] == b"meanwhile":
            check(got[1] == address_of(server), f"from {got[1]}")
        check(got[0] == b"last", f"{got}")
        seen = exchange(client, server)
        check(seen == peer, f"{address_of(client)}: the server saw {peer}, now {seen}; {sessions_of(env, client)}")


def one_host(env):
    """max_udp_sessions_per_source: one host does not take the room of others, nor lose its answered ones first."""
    restart(env)
    server = server_of(env)
    clients = [client_of(env) for _ in range(20)]
    peers = [exchange(client, server) for client in clients]
    with swallowed(env, 9):
        flood(env, 9, 5000, 1)
        time.sleep(0.3)
    host = CLIENT["v4"] + ":"
    count = sum(session["source"].startswith(host) for session in sessions(env))
    check(HOST_CAP * 0.9 <= count <= HOST_CAP, f"{count} sessions of one host")
    for client, peer in zip(clients, peers):
        check(exchange(client, server) == peer, "the session was lost")


def network64(env):
    """In IPv6 a /64 is a host."""
    restart(env)
    added = [f"fd77:1::{number:x}" for number in range(0x100, 0x104)]
    try:
        for address in added:
            env.lab.run("client", "ip", "addr", "add", f"{address}/64", "dev", "lan0", "nodad", "preferred_lft", "0")
        server = server_of(env, "v6")
        for number in range(HOST_CAP * 2):
            exchange(udp(env, "client", "v6", added[number % 4]), server)
        count = sum("fd77:1::" in session["source"] for session in sessions(env))  # others may have been adopted
        check(HOST_CAP * 0.9 <= count <= HOST_CAP, f"{count} sessions of one network")
    finally:
        for address in added:
            env.lab.run("client", "ip", "addr", "del", f"{address}/64", "dev", "lan0")


def answered_all(env):
    """When all are answered ones, the one that is unused the longest goes, and a new one has room."""
    restart(env)
    server = server_of(env)
    clients = [client_of(env) for _ in range(HOST_CAP + 20)]
    for client in clients:
        exchange(client, server)
    check(len(sessions(env)) == HOST_CAP, f"{len(sessions(env))} sessions")
    check(not sessions_of(env, clients[0]) and sessions_of(env, clients[-1]), "not the oldest one went")
    exchange(clients[0], server)


def few_files(env):
    """No more files than the limit has room for: no endless loop, and it goes on when they are free."""
    restart(env)
    server, clients = server_of(env), [client_of(env) for _ in range(400)]
    for client in clients:
        client.sendto(b"question", address_of(server))
    time.sleep(0.5)
    before = env.daemon.cpu_seconds()
    time.sleep(1)
    used = env.daemon.cpu_seconds() - before
    check(used < 0.5, f"{used:.1f} s of CPU in a second without traffic")
    env.note(f"{len(sessions(env))} sessions with {env.daemon.fds()} files")
    server.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        while True:
            server.recvfrom(100)
    server.settimeout(5)
    client, listener = client_of(env), env.listen()
    conn = env.connect(listener.getsockname())
    ping_pong(conn, env.accept(listener), 10)
    wait_for(lambda: len(sessions(env)) < 50, "sessions do not end", 8, 0.2)
    for _ in range(3):
        exchange(client, server)


def starving(env, size, sources):
    """A TCP flow goes on beside a flood of datagrams."""
    client, server = env.pair()
    ping_pong(client, server, 50)
    with swallowed(env, 9):
        task = env.spawn(flood, env, 9, 10**9, sources, size, 3)
        time.sleep(0.3)
        waits = []
        end = time.monotonic() + 2
        while time.monotonic() < end:
            started = time.monotonic()
            ping_pong(client, server, 1)
            waits.append(time.monotonic() - started)
        stream = Stream(9, 4 * MIB)
        env.together((send, client, stream, whole_blocks, False), (receive, server, stream, False))
        sent = task.result()
    waits.sort()
    env.note(f"{sent / 3:.0f} datagrams a second; {len(waits)} exchanges, median "
             f"{statistics.median(waits) * 1e3:.1f} ms, longest {waits[-1] * 1e3:.0f} ms")
    check(len(waits) > 50 and waits[-1] < 0.5, f"{len(waits)} exchanges, the longest took {waits[-1]:.2f} s")


def one_destination(env):
    """A session whose sender does not stop does not starve another session's answers."""
    server, client, noisy = server_of(env), client_of(env), client_of(env)
    other = server_of(env)
    exchange(client, server)
    over = []

    def shout():
        while not over:
            noisy.sendto(b"x" * 1000, address_of(other))

    task = env.spawn(shout)
    lost = 0
    try:
        for number in range(200):
            client.sendto(b"%d" % number, address_of(server))
            try:
                server.settimeout(0.5)
                data, peer = server.recvfrom(100)
                server.sendto(data, peer)
                client.settimeout(0.5)
                client.recvfrom(100)
            except TimeoutError:
                lost += 1
    finally:
        over.append(True)
        task.result()
    env.note(f"{lost} of 200 exchanges lost")
    check(lost < 20, f"{lost} of 200 exchanges lost")


def main():
    suite = Suite()
    caps = UdpConfig(limits={"max_udp_sessions": CAP, "max_udp_sessions_per_source": CAP})
    host = UdpConfig(limits={"max_udp_sessions_per_source": HOST_CAP})
    small = UdpConfig(limits={"max_udp_sessions": HOST_CAP}, workers=1)
    suite.add("udp-limits/spoofed", spoofed, caps, max(60, SOURCES / 5000))
    suite.add("udp-limits/one-host", one_host, host)
    suite.add("udp-limits/one-network", network64, host)
    suite.add("udp-limits/answered-all", answered_all, small)
    suite.add("udp-limits/few-files", few_files, UdpConfig(nofile=256, inbound={"udp_timeout": "2s"}), 30)
    suite.add("udp-limits/one-destination", one_destination, caps, 30)  # before floods, whose rest is in the queues
    for name, size, sources in (("empty", 0, 1), ("empty-spoofed", 0, 100000), ("small", 64, 1)):
        suite.add(f"udp-limits/starving/{name}", starving, caps, 30, size=size, sources=sources)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
