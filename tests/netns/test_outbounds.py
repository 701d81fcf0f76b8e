#!/usr/bin/python3
"""Proxies as outbounds, against the programs that people run: danted, microsocks, tinyproxy, v2ray, haproxy. They run
in the server's namespace; a service there sees them as its client. `out` carries the flows, `low` is its detour."""
import contextlib
import dataclasses
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from daemon import NO_PACKET, Config
from lab import SERVICE
from program import program
from seamtest import Suite
from ssh import ssh, sshd
from streams import MIB, Stream, expect_reset, ping_pong, receive, send, whole_blocks
from test_fastopen import fast_open
from test_names import ELSEWHERE
from test_options import CLIENT
from verdict import Skip, check, wait_for
from wire import fails

SOCKS, SOCKS_PASSWORD, HTTP, VLESS, PROXY, SSH, NOBODY = 1080, 1081, 8888, 10086, 8404, 2222, 9
USER, PASSWORD = "seam", "s3cret:x"
UUID = "9f4f5a1c-3c5e-4a7e-8f0e-2b9d1c7a6e51"
BANNER = b"220 service ready\r\n"
KICK_SECONDS = 0.3  # how long a first write may wait for the client's first bytes
SLACK = 0.3  # seconds that a busy machine may take


# Peers ------------------------------------------------------------------------------------------------

def danted(env, family):
    """SOCKS 5 and 4, for everybody."""
    every = "from: 0/0 to: 0/0"
    return program(env, SOCKS, family, f"""logoutput: stderr
internal: {SERVICE[family]} port = {SOCKS}
external: {SERVICE[family]}
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ {every} }}
socks pass {{ {every} }}
""", "danted", "-f", "FILE", "-p", "/dev/null")


def microsocks(env, family):
    """SOCKS 5 with a password; also takes names."""
    return program(env, SOCKS_PASSWORD, family, "", "microsocks", "-i", SERVICE[family], "-p", str(SOCKS_PASSWORD),
                   "-u", USER, "-P", PASSWORD)


def tinyproxy(env, family):
    return program(env, HTTP, family, f"""Port {HTTP}
Listen {SERVICE[family]}
Timeout 600
MaxClients 100
LogFile "FOLDER/log"
BasicAuth {USER} s3cret
""", "tinyproxy", "-d", "-c", "FILE")


def v2ray(env, family):
    options = {"sockopt": {"tcpFastOpen": True}}
    return program(env, VLESS, family, json.dumps({
        "log": {"loglevel": "info"},
        "inbounds": [{"listen": SERVICE[family], "port": VLESS, "protocol": "vless", "streamSettings": options,
                      "settings": {"clients": [{"id": UUID}], "decryption": "none"}}],
        "outbounds": [{"protocol": "freedom"}]}), "v2ray", "-config", "FILE")


def haproxy(env, family, frontend="", mode="tcp"):
    """It wants the header of the PROXY protocol, either version, before all bytes."""
    return program(env, PROXY, family, f"""defaults
  mode {mode}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind {SERVICE[family]}:{PROXY} accept-proxy
{frontend}
""", "haproxy", "-db", "-f", "FILE")


# Outbounds --------------------------------------------------------------------------------------------

def proxy(kind, port, family, **more):
    return {"type": kind, "tag": "out", "server": SERVICE[family], "server_port": port} | more


@dataclasses.dataclass(frozen=True)
class Kind:
    """A protocol: who serves it, and the outbound that speaks it."""
    peer: object
    type: str
    port: int
    options: dict

    def outbound(self, family, **more):
        return proxy(self.type, self.port, family, **self.options, **more)


KINDS = {
    "socks5": Kind(danted, "socks", SOCKS, {"version": "5"}),
    "socks4": Kind(danted, "socks", SOCKS, {"version": "4", "username": "me"}),
    "socks4a": Kind(danted, "socks", SOCKS, {"version": "4a"}),
    "socks5-password": Kind(microsocks, "socks", SOCKS_PASSWORD, {"username": USER, "password": PASSWORD}),
    "http": Kind(tinyproxy, "http", HTTP, {"username": USER, "password": "s3cret", "headers": {"X-Seam": "1"}}),
    "vless": Kind(v2ray, "vless", VLESS, {"uuid": UUID}),
}
CHAINS = (("socks5", "http"), ("http", "socks5-password"), ("vless", "socks5"), ("socks5", "vless"),
          ("vless", "http"))  # the second is the detour of the first


def by(*outbounds, method="auto", relay=NO_PACKET, **more):
    return Config(method, enter_after=0, final="out", outbounds=list(outbounds), relay=relay, **more)


def pair(env, family):
    """Both ends of a connection whose server's end is a proxy's."""
    client, server = env.pair(family)
    source = server.getpeername()[0]
    check(source == SERVICE[family], f"{source} is connected, not a proxy")
    return client, server


def exchange(env, client, server, size=8 * MIB):
    """Both ways at once, byte-exact; then the kernel has the flow, if it can."""
    up, down = Stream(21, size), Stream(22, size)
    env.together((send, client, up, whole_blocks, False), (receive, server, up, False),
                 (send, server, down, whole_blocks, False), (receive, client, down, False))
    if env.daemon.has_ctl:
        flow = wait_for(lambda: env.daemon.flow_of(client), "no flow")
        env.note(f"method {flow['method']}")
        if any("relay: sockmap" in line for line in env.daemon.log_lines()):
            check(flow["method"] == "sockmap", f"method is {flow['method']}")
    for one, other in ((client, server), (server, client)):
        one.shutdown(socket.SHUT_WR)
        check(not other.recv(1), "bytes behind the end")


# Cases ------------------------------------------------------------------------------------------------

def stream(env, kind, family):
    env.need_daemon()
    with KINDS[kind].peer(env, family):
        exchange(env, *pair(env, family))


def many(env, kind, family):
    """Connections at once, each with its own bytes."""
    env.need_daemon()
    with KINDS[kind].peer(env, family):
        for client, server in [pair(env, family) for _ in range(20)]:
            ping_pong(client, server, 5, 1000)


def curl(env, kind, family):
    """A request of 1 MiB each way."""
    def serve(listener):
        conn = env.accept(listener)
        head, body = b"", Stream(23, MIB)
        while b"\r\n\r\n" not in head:
            head += conn.recv(1)
        if b"100-continue" in head:
            conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        receive(conn, body, False)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % MIB)
        send(conn, body)

    env.need_daemon()
    if not shutil.which("curl"):
        raise Skip("no curl")
    listener, body = env.listen(family), bytes(Stream(23, MIB).part(0, MIB))
    host = f"[{SERVICE[family]}]" if family == "v6" else SERVICE[family]
    with KINDS[kind].peer(env, family), tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        serving = env.spawn(serve, listener)
        done = subprocess.run(["nsenter", f"--net={env.lab.path('client')}", "curl", "-sSf", "--max-time", "15",
                               "--data-binary", f"@{file.name}", f"http://{host}:{listener.getsockname()[1]}/"],
                              capture_output=True, check=False)
        serving.result()
    check(done.returncode == 0 and done.stdout == body, f"curl: {done.returncode} {done.stderr!r}")


def secure_shell(env, kind, family):
    env.need_daemon()
    with KINDS[kind].peer(env, family), sshd(env, family, SSH):
        cat_by_ssh(env, family, SSH)


def cat_by_ssh(env, family, port):
    """4 MiB to `cat` and back; the kernel has the flow, if it can."""
    data, methods = bytes(Stream(24, 4 * MIB).part(0, 4 * MIB)), set()
    running = env.spawn(ssh, env, "client", family, port, "echo $SSH_CLIENT; cat; sleep 0.2", stdin=data)
    while running.is_alive():
        methods |= {flow["method"] for flow in env.daemon.flows()} if env.daemon.has_ctl else set()
        time.sleep(0.02)
    done = running.result()
    source, _, back = done.stdout.partition(b"\n")
    check(done.returncode == 0 and back == data, f"ssh: {done.returncode} {len(back)} bytes, {done.stderr!r}")
    check(source.split()[0] == SERVICE[family].encode(), f"{source!r} is connected, not a proxy")
    if any("relay: sockmap" in line for line in env.daemon.log_lines()):
        check("sockmap" in methods, f"the methods were {methods}")


def banner(env, kind, family):
    """The client waits for the server's first words and says nothing."""
    env.need_daemon()
    with KINDS[kind].peer(env, family):
        greeted(env, family)


def greeted(env, family):
    listener, started = env.listen(family), time.monotonic()
    client = env.connect(listener.getsockname(), family)
    server = env.accept(listener)
    server.sendall(BANNER)
    check(client.recv(len(BANNER), socket.MSG_WAITALL) == BANNER, "not the server's first words")
    took = time.monotonic() - started
    check(took < KICK_SECONDS + SLACK, f"the first words took {took:.2f} s")
    ping_pong(client, server, 10, 100)


def banner_fast_open(env, kind, family):
    """The SYN waits for the client's first bytes, but not for ever."""
    env.need_daemon()
    with fast_open(env), KINDS[kind].peer(env, family):
        for _ in range(3):  # the first one asks for the cookie
            greeted(env, family)
            exchange(env, *pair(env, family), MIB)


def chain(env, upper, lower, family):
    """Bytes pass both; without the lower one nothing does."""
    env.need_daemon()
    with KINDS[upper].peer(env, family):
        with KINDS[lower].peer(env, family):
            exchange(env, *pair(env, family))
            greeted(env, family)
        for sock in env.open:
            sock.close()
        env.daemon.wait_idle()
        fails(env, env.listen(family).getsockname(), family, "dial-failed", ("Connection refused",))


def proxy_protocol(env, family, original):
    """haproxy says who the client is, and where it wanted to go."""
    env.need_daemon()
    answer = ('  http-request return status 200 content-type text/plain '
              'lf-string "%[src] %[src_port] %[dst] %[dst_port]"')
    with haproxy(env, family, answer, "http"):
        to = (original or SERVICE[family], 80 if original else PROXY)
        client = env.connect(to, family)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: client.recv(4096), b"")).decode()
        told = text.partition("\r\n\r\n")[2].split()
        wanted = [CLIENT[family], str(client.getsockname()[1]), to[0], str(to[1])]
        check(told == wanted, f"haproxy was told {told}, not {wanted}: {text!r}")


def proxy_protocol_stream(env, family):
    """Through haproxy to a service behind it."""
    env.need_daemon()
    listener = env.listen(family)
    address, port = listener.getsockname()[:2]
    with haproxy(env, family, f"  default_backend out\nbackend out\n  server one {address}:{port}"):
        client = env.connect((SERVICE[family], PROXY), family)
        exchange(env, client, env.accept(listener))
        client = env.connect((SERVICE[family], PROXY), family)
        server = env.accept(listener)  # haproxy has had the header without a byte of the client
        server.sendall(BANNER)
        check(client.recv(len(BANNER), socket.MSG_WAITALL) == BANNER, "not the server's first words")


def proxy_protocol_ssh(env, family):
    env.need_daemon()
    backend = f"  default_backend out\nbackend out\n  server one {SERVICE[family]}:{SSH}"
    with sshd(env, family, SSH), haproxy(env, family, backend):
        cat_by_ssh(env, family, PROXY)


def wrong_password(env, kind, family, words):
    env.need_daemon()
    with KINDS[kind].peer(env, family):
        fails(env, env.listen(family).getsockname(), family, "dial-failed", words)


def refused_target(env, kind, family, words):
    """The proxy is there, the service is not."""
    env.need_daemon()
    with KINDS[kind].peer(env, family):
        fails(env, (SERVICE[family], NOBODY), family, "dial-failed", words)


def refused_late(env, family):
    """VLESS knows no refusal, of a target or a UUID: the server hangs up after the client was connected, who must hear
    of it."""
    env.need_daemon()
    with v2ray(env, family):
        client = env.connect((SERVICE[family], NOBODY), family)
        client.sendall(b"hello")
        client.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            check(not client.recv(100), "bytes from nowhere")


def proxy_down(env, family):
    fails(env, env.listen(family).getsockname(), family, "dial-failed", ("connect", "Connection refused"))


def proxy_at(env, family, port):
    env.need_daemon()
    listener = env.socket("server", family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((SERVICE[family], port))
    listener.listen()
    return listener


def silent_proxy(env, family, port):
    """It takes the connection and says nothing: dial_timeout covers the whole way."""
    listener = proxy_at(env, family, port)
    fails(env, (SERVICE[family], NOBODY), family, "dial-timeout", ("dial_timeout",), (0.9, 1.6))
    proxy_end = env.accept(listener)
    proxy_end.recv(4096)
    expect_reset(proxy_end)


def says(env, family, port, answer, reason, words):
    """A proxy that says something else, and hangs up."""
    listener = proxy_at(env, family, port)

    def serve():
        conn = env.accept(listener)
        conn.recv(4096)
        conn.sendall(answer)
        with contextlib.suppress(OSError):  # the daemon may have reset it already
            conn.shutdown(socket.SHUT_WR)

    serving = env.spawn(serve)
    fails(env, (SERVICE[family], NOBODY), family, reason, words)
    serving.result()


def not_vless(env, family):
    """What comes in place of the answer is not for the client."""
    listener = proxy_at(env, family, VLESS)
    client = env.connect((SERVICE[family], NOBODY), family)
    client.sendall(b"hello")
    conn = env.accept(listener)
    check(re.fullmatch(rb"(?s)\0.{16}\0\x01\0\x09[\1\3].*hello", conn.recv(4096)), "header and first bytes are not one")
    conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    expect_reset(client, drain=False)
    wait_for(lambda: any("VLESS" in line for line in env.daemon.log_lines()), "the log does not say why")


def selector(env, family):
    """Its default member carries the flow, and not the first one, where nobody is."""
    stream(env, "socks5", family)


# Suite ------------------------------------------------------------------------------------------------

def cases_of_kinds(suite, family):
    for name, kind in KINDS.items():
        if family == "v6" and name.startswith("socks4"):
            continue
        config = by(kind.outbound(family))
        for func in (stream, curl, secure_shell, banner, many):
            what = func.__name__.replace("_", "-")
            suite.add(f"outbounds/{what}/{name}/{family}", func, config, 30, kind=name, family=family)
        if family == "v4":
            suite.add(f"outbounds/curl/{name}/v4/packet", curl, by(kind.outbound("v4"), relay=None), 30, kind=name,
                      family="v4")
        fast = by(kind.outbound(family, tcp_fast_open=True))
        suite.add(f"outbounds/fast-open/{name}/{family}", banner_fast_open, fast, 30, kind=name, family=family)
    for method in ("splice", "copy"):
        config = by(KINDS["vless"].outbound(family), method=method)
        suite.add(f"outbounds/stream/vless/{family}/{method}", stream, config, 30, kind="vless", family=family)
    for upper, lower in CHAINS:
        config = by(KINDS[upper].outbound(family, detour="low"), KINDS[lower].outbound(family) | {"tag": "low"})
        suite.add(f"outbounds/chain/{upper}-over-{lower}/{family}", chain, config, 30, upper=upper, lower=lower,
                  family=family)


def cases_of_proxy_protocol(suite, family):
    for version in (1, 2):
        direct = {"type": "direct", "tag": "out", "proxy_protocol": version}
        suite.add(f"outbounds/proxy-protocol/{version}/{family}", proxy_protocol, by(direct), family=family,
                  original=None)
        elsewhere = direct | {"override_address": SERVICE[family], "override_port": PROXY}
        suite.add(f"outbounds/proxy-protocol/{version}/{family}/elsewhere", proxy_protocol, by(elsewhere),
                  family=family, original=ELSEWHERE[family])
        suite.add(f"outbounds/proxy-protocol/{version}/{family}/stream", proxy_protocol_stream, by(direct), 30,
                  family=family)
        suite.add(f"outbounds/proxy-protocol/{version}/{family}/ssh", proxy_protocol_ssh, by(direct), 30, family=family)


def cases_of_failures(suite, family):
    for kind, words in (("socks5-password", "socks5: wrong user name or password"),
                        ("http", "HTTP proxy: 401")):  # tinyproxy's word for it; 407 is for none
        wrong = by(KINDS[kind].outbound(family) | {"password": "wrong"})
        suite.add(f"outbounds/wrong-password/{kind}/{family}", wrong_password, wrong, kind=kind, family=family,
                  words=(words,))
        none = {key: value for key, value in KINDS[kind].outbound(family).items()
                if key not in ("username", "password")}
        words = {"http": "HTTP proxy: 407"}.get(kind, "socks5: the proxy wants a user name and password")
        suite.add(f"outbounds/no-password/{kind}/{family}", wrong_password, by(none), kind=kind, family=family,
                  words=(words,))
    for kind, words in (("socks5", "socks5: connection refused"), ("http", "HTTP proxy: 5"),
                        ("socks5-password", "socks5: connection refused")):
        suite.add(f"outbounds/refused-target/{kind}/{family}", refused_target, by(KINDS[kind].outbound(family)),
                  kind=kind, family=family, words=(words,))
    suite.add(f"outbounds/refused-target/vless/{family}", refused_late, by(KINDS["vless"].outbound(family)),
              family=family)
    stranger = by(KINDS["vless"].outbound(family) | {"uuid": UUID.replace("9", "8")})
    suite.add(f"outbounds/wrong-uuid/vless/{family}", refused_late, stranger, family=family)
    suite.add(f"outbounds/proxy-down/{family}", proxy_down, by(proxy("socks", SOCKS, family)), family=family)
    for kind in ("socks", "http"):
        config = by(proxy(kind, SOCKS, family, dial_timeout="1s"))
        suite.add(f"outbounds/silent-proxy/{kind}/{family}", silent_proxy, config, family=family, port=SOCKS)
        for what, answer, words in (
                ("garbage", b"SSH-2.0-OpenSSH\r\n", ("does not speak",)),
                ("hang-up", {"socks": b"\5", "http": b"HTTP/1.1 200 OK\r\nA: b\r\n"}[kind], ("hung up",))):
            suite.add(f"outbounds/{what}/{kind}/{family}", says, by(proxy(kind, SOCKS, family)), family=family,
                      port=SOCKS, answer=answer, reason="dial-failed", words=words)
    suite.add(f"outbounds/garbage/vless/{family}", not_vless, by(KINDS["vless"].outbound(family)), family=family)


def main():
    suite = Suite()
    for family in ("v4", "v6"):
        cases_of_kinds(suite, family)
        cases_of_proxy_protocol(suite, family)
        cases_of_failures(suite, family)
        group = {"type": "selector", "tag": "out", "outbounds": ["dead", "live"], "default": "live"}
        members = [proxy("socks", NOBODY, family) | {"tag": "dead"}, KINDS["socks5"].outbound(family) | {"tag": "live"}]
        suite.add(f"outbounds/selector/{family}", selector, by(group, *members), 30, family=family)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
