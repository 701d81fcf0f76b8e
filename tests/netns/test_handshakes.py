#!/usr/bin/python3
"""tls_fragment and tls_record_fragment with servers that people run: handshakes, byte-exact streams behind them, many
at once, and nothing that is left of them."""
import json
import pathlib
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

from daemon import NO_PACKET
from fragment import MODES, NAME, config, flow, hello, listen, next_port, take_hello
from lab import SERVICE
from seamtest import Suite
from streams import MIB, Stream, receive, send
from tls import PROGRAMS, SIZES, TlsServer, same, serve, shake_hands
from verdict import Skip, check, wait_for
from wire import closed


def real(env, family, mode, peer):
    """Handshakes of both sizes and of TLS 1.2 with a program that people run; it sees the name."""
    env.need_daemon()
    start, ask = PROGRAMS[peer]
    port = next_port(env, mode)
    with start(env, family, port):
        for size, version in (("classic", None), ("big", None), ("classic", ssl.TLSVersion.TLSv1_2)):
            client = shake_hands(env, (SERVICE[family], port), family, size, version=version)
            check(client.is_for(NAME), "the certificate of another name")
            ask(client)
            client.sock.close()


def bulk(env, family, way, size="classic", method="sockmap"):
    """4 MiB each way by TLS, then the kernel has the flow, if it can."""
    server = TlsServer(listen(env, family, way))
    up, down = Stream(41, 4 * MIB), Stream(42, 4 * MIB)
    serving = env.spawn(serve, env, server, up, down)
    client = shake_hands(env, server.listener.getsockname(), family, size)
    for at in range(0, up.size, MIB):
        client.send(up.part(at, MIB))
    same(client, down)
    serving.result()
    check(server.names == [NAME], f"the server was asked for {server.names}")
    told = env.daemon.flow_of(client.sock)
    if method != "sockmap" or any("relay: sockmap" in line for line in env.daemon.log_lines()):
        check(told["method"] == method, f"method is {told['method']}")
    check(told["up"]["bytes"] > 4 * MIB and told["down"]["bytes"] > 4 * MIB, f"counted {told['up']} and {told['down']}")


def plain_bulk(env, family, way, size):
    """After the pieces: byte-exact both ways at once, started while they are still on their way."""
    client, server, _ = flow(env, family, way)
    sent, up, down = hello(behind=size), Stream(43, 4 * MIB), Stream(44, 4 * MIB)

    def take():
        take_hello(server, sent, way)
        receive(server, up)

    client.sendall(sent)
    env.together((send, client, up), (take,), (send, server, down), (receive, client, down))


def findings(env, side, port, *what):
    """What testssl.sh finds out from a namespace: {id: finding}. It asks for names that are not there, often: without a
    name server it hears so at once."""
    with tempfile.TemporaryDirectory(prefix="seamtest-") as folder:
        path = pathlib.Path(folder, "findings")
        done = subprocess.run(["nsenter", f"--net={env.lab.path(side)}", "unshare", "-m", "sh", "-c",
                               'mount --bind /dev/null /etc/resolv.conf && exec "$@"', "sh", "testssl", *what,
                               "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip",
                               SERVICE["v4"], "--jsonfile", str(path), f"https://{NAME}:{port}"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        check(path.exists(), f"testssl from the {side}: {done.stdout[-300:]} {done.stderr[-300:]}")
        return {found["id"]: found["finding"] for found in json.loads(path.read_text(encoding="utf-8"))
                if found["id"] != "scanTime"}


def testssl(env, mode, what):
    """The same from the router, past seamd, and from the client, through it."""
    env.need_daemon()
    if not shutil.which("testssl"):
        raise Skip("no testssl")
    port = next_port(env, mode)
    with PROGRAMS["nginx"][0](env, "v4", port):
        flows = closed(env, "done")
        past, through = env.together((findings, env, "router", port, *what), (findings, env, "client", port, *what))
        check(closed(env, "done") > flows + 5, "testssl did not come through seamd")
    check(all("offered" == past.get(key, "")[:7] for key in ("TLS1_2", "TLS1_3")), f"nginx is found to be {past}")
    other = {key: (past.get(key), through.get(key)) for key in past | through if past.get(key) != through.get(key)}
    check(not other, f"past seamd and through it: {other}")


def relay_memory(env):
    return int(re.search(r"^seam_relay_memory_bytes (\d+)", env.daemon.ctl("metrics"), re.M)[1])


def parallel(env, family, way):
    """50 handshakes at once; nothing is left of them."""
    server = TlsServer(listen(env, family, way))
    fds, memory = env.daemon.fds(), relay_memory(env)

    def one(number):
        size = "big" if number % 2 else "classic"
        client = shake_hands(env, server.listener.getsockname(), family, size, f"w{number}.example.com")
        client.send(b"hello")
        check(client.receive(5) == b"HELLO", "another answer")
        client.sock.close()

    def other():
        conn = server.accept(env)
        conn.sendall(conn.recv(5).upper())

    env.together(*[(other,) for _ in range(50)], *[(one, number) for number in range(50)])
    check(sorted(server.names) == sorted(f"w{number}.example.com" for number in range(50)), "other names")
    for sock in env.open:
        sock.close()
    env.daemon.wait_idle()
    wait_for(lambda: env.daemon.fds() <= fds, lambda: f"{env.daemon.fds()} files, {fds} before")
    check(relay_memory(env) == memory, f"{relay_memory(env)} bytes held, {memory} before")


def half_hellos(env, family, way):
    """Many clients that stop inside a hello, or between the pieces, and go: no memory is left."""
    listener = listen(env, family, way)
    fds, memory = env.daemon.fds(), relay_memory(env)
    for number in range(40):
        client = env.connect(listener.getsockname(), family)
        client.sendall(hello() if number % 2 else hello()[:100])
        env.accept(listener)
        if number % 4 > 1:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.02)
    for sock in env.open:
        sock.close()
    env.daemon.wait_idle()
    wait_for(lambda: env.daemon.fds() <= fds, lambda: f"{env.daemon.fds()} files, {fds} before")
    check(relay_memory(env) == memory, f"{relay_memory(env)} bytes held, {memory} before")


def main():
    suite, everything, sockmap = Suite(), config(), config(relay=NO_PACKET)

    def add(func, *names, **kwargs):
        suite.add("/".join(("handshakes", func.__name__.replace("_", "-"), *names)), func,
                  sockmap if func is bulk else everything, **kwargs)

    for family in ("v4", "v6"):
        for mode in MODES:
            for size in SIZES:
                add(bulk, mode, family, size, family=family, way=mode, size=size)
        for peer in PROGRAMS:
            for mode in MODES if family == "v4" else ("both",):
                add(real, peer, mode, family, family=family, mode=mode, peer=peer)
    for mode in MODES:
        add(plain_bulk, mode, "v6", family="v6", way=mode, size=1900)
    add(bulk, "route-options", family="v4", way="options")
    suite.add("handshakes/testssl/both/v4", testssl, everything, 60, mode="both", what=["--protocols"])
    add(parallel, family="v4", way="both")
    add(half_hellos, family="v6", way="packets")
    for method in ("splice", "copy"):
        suite.add(f"handshakes/bulk/both/v6/{method}", bulk, config(method), family="v6", way="both", size="big",
                  method=method)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
