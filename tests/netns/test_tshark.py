#!/usr/bin/python3
"""Sniffers against tshark: real clients talk to real servers on the loopback of the server's namespace, a capture is
read by tshark, and the program `sniff` gives the same bytes to seam's parsers. Both must tell the same protocol and
name. seamd has no part in this."""
import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import typing

from daemon import SEAMD, Config
from dnsserver import DnsServer
from fragment import NAME
from lab import ROOT, SERVICE
from seamtest import Suite
from ssh import ssh, sshd
from program import program
from tls import Certificates, gnutls, nginx, openssl, shake_hands
from verdict import Skip, check

SNIFF = (pathlib.Path(SEAMD) if SEAMD != "none" else ROOT / "build/dev/bin/seamd").with_name("sniff")
# A layer as tshark calls it; what is not here is unknown to seam as well.
LAYERS = {"tls": "tls", "http": "http", "http2": "http", "ssh": "ssh", "bittorrent": "bittorrent",
          "bt-utp": "bittorrent", "rdp": "rdp", "dns": "dns", "quic": "quic", "stun": "stun", "dtls": "dtls",
          "ntp": "ntp"}
NAMES = ("tls.handshake.extensions_server_name", "dtls.handshake.extensions_server_name", "http.host", "dns.qry.name")
FIELDS = ("frame.protocols", "{}.stream", "{}.payload", *NAMES)
HOST = SERVICE["v4"]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
BITTORRENT = b"\x13BitTorrent protocol" + bytes(8) + b"seam" * 10
RDP = bytes.fromhex("0300002a25e00000000000") + b"Cookie: mstshash=user\r\n" + bytes.fromhex("0100080003000000")
UTP = bytes.fromhex("41001a2b0000303900000000000f000000010000")


# tshark and seam --------------------------------------------------------------------------------------

@contextlib.contextmanager
def capture(env, path):
    argv = ["nsenter", f"--net={env.lab.path('server')}", "tcpdump", "--immediate-mode", "-Z", "root", "-U", "-s", "0",
            "-i", "lo", "-w", path]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr:
                if "listening" in line:
                    break
            yield
        finally:
            process.terminate()


def by_tshark(path, network, port):
    """{number of a conversation: (its client's payloads in hex, protocol, name)}"""
    chosen = f"tcp.dstport == {port} && tcp.len > 0" if network == "tcp" else f"udp.dstport == {port} && !icmp"
    with tempfile.TemporaryDirectory(prefix="seamtest-") as home:
        text = subprocess.run(["tshark", "-n", "-r", path, "--enable-heuristic", "bt_utp_udp", "-Y", chosen, "-T",
                               "fields", "-E", "occurrence=f", *(
                                   word for field in FIELDS for word in ("-e", field.format(network)))],
                              env=os.environ | {"HOME": home, "WIRESHARK_CONFIG_DIR": home}, text=True,
                              capture_output=True, check=True).stdout
    found = {}
    for line in text.splitlines():
        layers, number, payload, *names = line.split("\t")
        payloads, protocol, name = found.get(number, ([], "unknown", ""))
        if protocol == "unknown":
            protocol = next((LAYERS[layer] for layer in layers.split(":") if layer in LAYERS), protocol)
        found[number] = (payloads + [payload], protocol, name or next(filter(None, names), ""))
    return found


def by_seam(network, conversations):
    """[(protocol, name)] of lists of payloads in hex."""
    check(os.access(SNIFF, os.X_OK), f"no program {SNIFF}")
    lines = "".join(" ".join((network, *payloads)) + "\n" for payloads in conversations)
    text = subprocess.run([SNIFF], input=lines, text=True, capture_output=True, check=True).stdout
    return [(protocol, "" if name == "-" else name) for protocol, name in map(str.split, text.splitlines())]


def plain_name(text):
    """A Host as a name: without its port, in lower case; an address is none."""
    name = re.sub(r":\d+$", "", text).lower().rstrip(".")
    return "" if re.fullmatch(r"[\d.]+|\[.*\]", name) else name


# Who talks --------------------------------------------------------------------------------------------

@contextlib.contextmanager
def answering(env, family, port):
    """A server that hears something, says OK and hangs up."""
    listener = env.socket("server", family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((SERVICE[family], port))
    listener.listen()

    def serve():
        conn = env.accept(listener)
        conn.recv(65536)
        conn.sendall(OK)
        conn.shutdown(socket.SHUT_WR)

    serving = env.spawn(serve)
    yield
    serving.result()
    listener.close()


@contextlib.contextmanager
def names_server(env, family, port):
    with env.lab.inside("server"):
        server = DnsServer(SERVICE[family], port=port, zone={"a.b.test": {"A": ["10.0.0.1"]}})
    with server:
        yield


def nobody(*_):
    return contextlib.nullcontext()


def dtls_server(env, family, port):
    cert, key = Certificates.of(NAME)
    return program(env, port, family, "", "openssl", "s_server", "-dtls", "-accept", f"{SERVICE[family]}:{port}",
                   "-cert", cert, "-key", key, "-quiet")


def quic_server(env, family, port):
    cert, key = Certificates.of(NAME)
    return program(env, port, family, "", "gtlsserver", "-q", SERVICE[family], str(port), key, cert)


def client(*argv, stdin="", good=(0,)):
    """A program, run beside the server until it ends."""
    def run(env):
        if not shutil.which(argv[0]):
            raise Skip(f"no {argv[0]}")
        done = subprocess.run(["nsenter", f"--net={env.lab.path('server')}", *argv], input=stdin, capture_output=True,
                              text=True, timeout=15, check=False)
        check(done.returncode in good, f"{argv[0]}: {done.returncode} {done.stdout[-300:]} {done.stderr[-300:]}")
    return run


def curl(*words, name=NAME, port=443):
    return client("curl", "-sS", "-k", "-m", "10", "-o", "/dev/null", "--resolve", f"{name}:{port}:{HOST}", *words)


def s_client(*words, name=NAME, good=(0,)):
    names = ("-servername", name) if name else ("-noservername",)
    return client("openssl", "s_client", "-connect", f"{HOST}:443", *names, *words, stdin="Q\n", good=good)


def dig(*words, good=(0,)):
    return client("dig", f"@{HOST}", "+tries=1", "+timeout=2", *words, good=good)


def quic_client(host):
    """Its SNI is the name it connects to, or "localhost" for an address."""
    def run(env):
        with tempfile.NamedTemporaryFile("w") as hosts:
            hosts.write(f"{HOST} {NAME}\n")
            hosts.flush()
            client("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts.name, "gtlsclient",
                   "-q", "--exit-on-all-streams-close", host, "443", f"https://{NAME}/")(env)
    return run


def big_hello(env):
    """In two segments."""
    shake_hands(env, (HOST, 443), "v4", "big", side="server").sock.close()


def ssh_client(env):
    done = ssh(env, "server", "v4", 22, "true")
    check(done.returncode == 0, f"ssh: {done.stderr!r}")


def saying(*segments, network="tcp", port):
    """What no program here says."""
    def run(env):
        with env.lab.inside("server"):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if network == "tcp" else socket.SOCK_DGRAM)
        with sock, contextlib.suppress(ConnectionRefusedError):
            sock.settimeout(5)
            sock.connect((HOST, port))
            for segment in segments:
                sock.sendall(segment)
                time.sleep(0.02)
            if network == "tcp":
                sock.recv(100)
    return run


@dataclasses.dataclass(frozen=True)
class Talk:
    """@protocol and @name are what both must find; name None: tshark tells one that seam does not look for."""
    protocol: str
    name: typing.Optional[str]
    network: str
    port: int
    server: typing.Callable
    client: typing.Callable


def talks():
    def tcp(protocol, name, port, server, run):
        return Talk(protocol, name, "tcp", port, server, run)

    def udp(protocol, name, port, server, run):
        return Talk(protocol, name, "udp", port, server, run)

    return {
        "curl/http": tcp("http", NAME, 80, answering, curl(f"http://{NAME}/a?b=c", port=80)),
        "curl/http/host": tcp("http", "other.test", 80, answering,
                              curl("-H", "Host: Other.TEST:8080", f"http://{NAME}/", port=80)),
        "curl/http/address": tcp("http", "", 80, answering, curl(f"http://{HOST}/", port=80)),
        "curl/http/post": tcp("http", NAME, 80, answering, curl("-d", "a" * 3000, f"http://{NAME}/", port=80)),
        "curl/http/proxy": tcp("http", NAME, 8080, answering, curl("-x", f"http://{HOST}:8080", f"http://{NAME}/")),
        "curl/http/connect": tcp("http", NAME, 8080, answering,
                                 client("curl", "-sS", "-m", "5", "-x", f"http://{HOST}:8080", f"https://{NAME}/",
                                        good=(35, 56))),
        "curl/http2": tcp("http", None, 80, answering,
                          client("curl", "-sS", "-m", "5", "--http2-prior-knowledge", f"http://{HOST}/",
                                 good=(16, 52, 56))),
        "curl/tls1.3": tcp("tls", NAME, 443, nginx, curl(f"https://{NAME}/body")),
        "curl/tls1.2": tcp("tls", NAME, 443, nginx, curl("--tls-max", "1.2", f"https://{NAME}/body")),
        "curl/tls/address": tcp("tls", "", 443, nginx, curl(f"https://{HOST}/body")),
        "openssl/tls1.3": tcp("tls", NAME, 443, openssl, s_client("-tls1_3")),
        "openssl/tls1.2": tcp("tls", NAME, 443, openssl, s_client("-tls1_2")),
        "openssl/no-name": tcp("tls", "", 443, nginx, s_client(name="")),
        "openssl/upper-case": tcp("tls", NAME, 443, nginx, s_client(name=NAME.upper())),
        "gnutls": tcp("tls", NAME, 443, gnutls, client("gnutls-cli", "--insecure", "--sni-hostname", NAME, "-p", "443",
                                                       HOST, stdin="hello\n")),
        "python/big-hello": tcp("tls", NAME, 443, nginx, big_hello),
        "ssh": tcp("ssh", "", 22, sshd, ssh_client),
        "dig/tcp": tcp("dns", "a.b.test", 53, names_server, dig("+tcp", "A.b.test")),
        "dig/udp": udp("dns", "a.b.test", 53, names_server, dig("A.b.test")),
        "dig/udp/any": udp("dns", "a.b.test", 53, names_server, dig("+notcp", "+noedns", "-t", "ANY",
                                                                             "a.b.test")),
        "bittorrent": tcp("bittorrent", "", 6881, answering, saying(BITTORRENT, port=6881)),
        "utp": udp("bittorrent", "", 6881, nobody, saying(UTP, network="udp", port=6881)),
        "rdp": tcp("rdp", "", 3389, answering, saying(RDP, port=3389)),
        "quic": udp("quic", NAME, 443, quic_server, quic_client(NAME)),
        "quic/address": udp("quic", "localhost", 443, quic_server, quic_client(HOST)),
        "ntp": udp("ntp", "", 123, nobody, client("ntpdig", "-t", "1", HOST, good=(0, 1))),
        "stun": udp("stun", "", 3478, nobody, client("timeout", "1", "turnutils_stunclient", HOST, good=(124,))),
        "dtls1.2": udp("dtls", NAME, 443, dtls_server, s_client("-dtls1_2")),
        "dtls/no-name": udp("dtls", "", 443, dtls_server, s_client("-dtls", name="")),
        "smtp": tcp("unknown", "", 25, answering, saying(b"EHLO a.test\r\n", port=25)),
        "redis": tcp("unknown", "", 6379, answering, saying(b"*1\r\n$4\r\nPING\r\n", port=6379)),
        "mqtt": tcp("unknown", "", 1883, answering, saying(b"\x10\x10\0\4MQTT\4\2\0<\0\4seam", port=1883)),
        "snmp": udp("unknown", "", 161, nobody,
                    saying(bytes.fromhex("302602010104067075626c6963a019020100020100020100300e300c06082b060102010101"
                                         "000500"), network="udp", port=161)),
    }


# Cases ------------------------------------------------------------------------------------------------

def agree(env, talk):
    if not shutil.which("tshark") or not shutil.which("tcpdump"):
        raise Skip("no tshark and tcpdump")
    with tempfile.TemporaryDirectory(prefix="seamtest-") as folder:
        path = f"{folder}/packets"
        with talk.server(env, "v4", talk.port), capture(env, path):
            talk.client(env)
            time.sleep(0.1)
        theirs = by_tshark(path, talk.network, talk.port)
    ours = by_seam(talk.network, [payloads for payloads, _, _ in theirs.values()])
    check(theirs, "nothing was captured")
    check(len(ours) == len(theirs), f"{len(ours)} answers for {len(theirs)} conversations")
    for (_, protocol, name), (our_protocol, our_name) in zip(theirs.values(), ours):
        check(our_protocol == protocol, f"{our_protocol}, tshark says {protocol}")
        check(protocol == talk.protocol, f"both say {protocol}")
        if talk.name is not None:
            check(our_name == plain_name(name), f"the name {our_name!r}, tshark says {name!r}")
            check(our_name == talk.name, f"both say {our_name!r}")


def main():
    suite = Suite()
    for name, talk in talks().items():
        suite.add(f"tshark/{name}", agree, Config("copy"), talk=talk)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
