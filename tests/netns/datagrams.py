"""UDP in the cases: sockets of both ends, datagrams that can be told apart, what the daemon says of its sessions."""
import contextlib
import dataclasses
import json
import pathlib
import re
import select
import shutil
import socket
import subprocess
import tempfile
import typing

from daemon import Config
from lab import SERVICE
from seamtest import FAMILIES
from streams import MIB, Stream
from verdict import Failure, Skip, check, wait_for

SO_RCVBUFFORCE = 33
ANY = {"v4": "0.0.0.0", "v6": "::"}
ELSEWHERE = {"v4": "10.77.2.2", "v6": "fd77:2::2"}  # the server's, too
THIRD = {"v4": "10.77.3.2", "v6": "fd77:3::2"}  # and one more


@dataclasses.dataclass(frozen=True)
class UdpConfig(Config):
    """Both networks come in."""
    inbound: typing.Any = None  # members of the inbound
    limits: typing.Any = None
    workers: int = 2

    def text(self, control):
        config = json.loads(super().text(control))
        config["inbounds"][0] |= {"network": ["tcp", "udp"]} | (self.inbound or {})
        config["limits"] |= self.limits or {}
        return json.dumps(config | {"workers": self.workers}, indent=1)


def udp_rules(*rules, kind=UdpConfig, **more):
    return kind(route={"rules": list(rules)}, **more)


CONNECTED = udp_rules({"action": "route-options", "udp_connect": True})


# Both ends --------------------------------------------------------------------------------------------

def udp(env, side, family="v4", address=None, port=0):
    """A bound socket with room for bursts."""
    with env.lab.inside(side):
        sock = socket.socket(FAMILIES[family], socket.SOCK_DGRAM)
    env.open.append(sock)
    sock.settimeout(5)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 * MIB)
    if family == "v6":
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address or ANY[family], port))
    return sock


def client_of(env, family="v4", port=0):
    return udp(env, "client", family, port=port)


def server_of(env, family="v4", port=0, address=None):
    return udp(env, "server", family, address or SERVICE[family], port)


def address_of(sock):
    return sock.getsockname()[:2]


def take(sock, wanted, source=None):
    """The next datagram is @wanted, from @source; returns who sent it."""
    try:
        data, peer = sock.recvfrom(1 << 16)
    except TimeoutError:
        raise Failure(f"no datagram in place of {wanted[:20]!r}, {len(wanted)} bytes") from None
    check(data == wanted, f"{len(data)} bytes {data[:20]!r} in place of {len(wanted)} bytes {wanted[:20]!r}")
    check(source is None or peer[:2] == source[:2], f"from {peer[:2]}, not {source and source[:2]}")
    return peer


def exchange(client, server, to=None, data=b"question"):
    """A datagram and an answer, which comes from where the client wrote to; returns who the server saw."""
    to = to or address_of(server)
    client.sendto(data, to)
    peer = take(server, data)
    server.sendto(data[::-1], peer)
    take(client, data[::-1], to)
    return peer


def silent(sock, seconds=0.3):
    if select.select([sock], [], [], seconds)[0]:
        data, peer = sock.recvfrom(1 << 16)
        raise Failure(f"{len(data)} bytes {data[:20]!r} from {peer[:2]}, it should be silent")


def datagram(number, size):
    return bytes(Stream(100 + number, size).part(0, size))


def burst(sender, to, receiver, size, count, window):
    """Every datagram arrives whole and in order, @window of them under way; returns who sent them."""
    peer = None
    for first in range(0, count, window):
        numbers = range(first, min(first + window, count))
        for number in numbers:
            sender.sendto(datagram(number, size), to)
        for number in numbers:
            peer = take(receiver, datagram(number, size))
    return peer


# The daemon's view ------------------------------------------------------------------------------------

def sessions(env):
    return json.loads(env.daemon.ctl("-j", "udp", "list"))


def sessions_of(env, client):
    port = client.getsockname()[1]
    return [session for session in sessions(env) if str(session["source"]).endswith(f":{port}")]


def session_of(env, client):
    """The only one of this client."""
    found = sessions_of(env, client)
    check(len(found) == 1, f"{len(found)} sessions of {client.getsockname()[:2]}: {found}")
    return found[0]


def metric(env, name):
    """0 if there is none of this name, labels included."""
    found = re.search(rf"^{re.escape(name)} (\d+)", env.daemon.ctl("metrics"), re.M)
    return int(found[1]) if found else 0


def udp_ended(env, reason):
    return metric(env, f'seam_udp_sessions_closed_total{{reason="{reason}"}}')


def restart(env):
    """Without the sessions and the cache of earlier cases."""
    env.need_ctl()
    config = env.daemon.config
    env.daemon.stop()
    env.daemon.use(config)


# Programs ---------------------------------------------------------------------------------------------

@contextlib.contextmanager
def running(env, side, *argv, files=None, ready=None):
    """A server program in a folder with these @files ({name: text}, FOLDER is its path), from when @ready() is true
    (default: it has the UDP port @ready) to the end of the block; yields a function that reads what it said."""
    if not shutil.which(argv[0]):
        raise Skip(f"no {argv[0]}")
    with tempfile.TemporaryDirectory(prefix="seamtest-") as folder:
        pathlib.Path(folder).chmod(0o777)  # some give up root
        for name, text in (files or {}).items():
            pathlib.Path(folder, name).write_text(text.replace("FOLDER", folder), encoding="utf-8")
        log = pathlib.Path(folder, "output")
        argv = ["nsenter", f"--net={env.lab.path(side)}", *(str(word).replace("FOLDER", folder) for word in argv)]
        with log.open("wb") as output:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder)

        def said():
            return log.read_text(errors="replace")

        def is_ready():
            if process.poll() is not None:
                raise Failure(f"{argv[2]} ended: {said()[-1000:]}")
            if callable(ready):
                return ready(said())
            return env.lab.run(side, "ss", "-Hlun", f"sport = :{ready}").strip()
        try:
            wait_for(is_ready, lambda: f"{argv[2]} is not ready: {said()[-1000:]}", 15)
            yield said
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def run(env, side, *argv, seconds=20, status=(0,)):
    """What a client program says."""
    if not shutil.which(argv[0]):
        raise Skip(f"no {argv[0]}")
    try:
        done = subprocess.run(["nsenter", f"--net={env.lab.path(side)}", *map(str, argv)], capture_output=True,
                              text=True, errors="replace", timeout=seconds, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired as late:
        raise Failure(f"{argv[0]} is not over after {seconds} s: {(late.stdout or b'')[-500:]!r}") from None
    check(done.returncode in status, f"{argv[0]} ended with {done.returncode}: {done.stdout[-600:]}{done.stderr[-600:]}")
    return done.stdout + done.stderr
