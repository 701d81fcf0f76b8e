"""TLS for tests: a client that sends its hello in parts, servers that people run, and one that notes names."""
import os
import pathlib
import shutil
import ssl
import subprocess
import tempfile
import time

from fragment import NAME
from lab import SERVICE
from streams import MIB, Stream
from program import program
from verdict import Skip, check


class Certificates:
    """Of NAME and of another name, made once."""
    folder = None

    @classmethod
    def of(cls, name):
        if cls.folder is None:
            cls.folder = tempfile.TemporaryDirectory(prefix="seamtest-")
            pathlib.Path(cls.folder.name).chmod(0o755)
        key, cert = (f"{cls.folder.name}/{name}.{kind}" for kind in ("key", "crt"))
        if not os.path.exists(cert):
            if not shutil.which("openssl"):
                raise Skip("no openssl")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-subj", f"/CN={name}", "-days", "30", "-keyout", key, "-out", cert], check=True,
                           capture_output=True)
            os.chmod(key, 0o644)
        return cert, key


class TlsClient:
    """TLS over a socket, with the hello in parts."""

    def __init__(self, sock, name=NAME, protocols=1, version=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"] + [f"protocol-{i:03}" for i in range(1, protocols)])
        if version:
            context.maximum_version = version
        self.sock, self.inward, self.outward = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inward, self.outward, server_hostname=name)

    def run(self, func, *args):
        while True:
            try:
                value = func(*args)
                self.sock.sendall(self.outward.read())
                return value
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outward.read())
                data = self.sock.recv(1 << 18)
                check(data, "the server hung up")
                self.inward.write(data)

    def handshake(self, parts=1):
        """Returns the size of the hello."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            sent = self.outward.read()
        step = -(-len(sent) // parts)
        for at in range(0, len(sent), step):
            self.sock.sendall(sent[at:at + step])
            if at + step < len(sent):
                time.sleep(0.05)
        self.run(self.tls.do_handshake)
        return len(sent)

    def send(self, data):
        for at in range(0, len(data), 1 << 16):
            self.run(self.tls.write, data[at:at + (1 << 16)])

    def receive(self, length):
        parts = []
        while length:
            data = self.run(self.tls.read, min(length, 1 << 18))
            check(data, "ended early")
            parts.append(data)
            length -= len(data)
        return b"".join(parts)

    def is_for(self, name):
        return name.encode() in self.tls.getpeercert(True)


SIZES = {"classic": (1, 1), "big": (150, 2)}  # protocols to offer, parts of the hello


def shake_hands(env, address, family, size="classic", name=NAME, version=None, side="client"):
    protocols, parts = SIZES[size]
    sock = env.socket(side, family)
    sock.connect(address[:2])
    client = TlsClient(sock, name, protocols, version)
    length = client.handshake(parts)
    check((length > 1800) == (size == "big"), f"the hello has {length} bytes")
    return client


def same(client, stream):
    for at in range(0, stream.size, MIB):
        stream.compare(at, client.receive(MIB))


def openssl(env, family, port):
    """It shows NAME's certificate to who names it, and alerts all others."""
    own, other = Certificates.of(NAME), Certificates.of("other.test")
    host = f"[{SERVICE[family]}]" if family == "v6" else SERVICE[family]
    return program(env, port, family, "", "openssl", "s_server", "-accept", f"{host}:{port}", "-cert", other[0], "-key",
                   other[1], "-cert2", own[0], "-key2", own[1], "-servername", NAME, "-servername_fatal", "-rev",
                   "-quiet")


def gnutls(env, family, port):
    own = Certificates.of(NAME)
    return program(env, port, family, "", "gnutls-serv", "--echo", "--port", str(port), "--x509certfile", own[0],
                   "--x509keyfile", own[1], "--sni-hostname", NAME, "--sni-hostname-fatal")


def nginx(env, family, port):
    own, other = Certificates.of(NAME), Certificates.of("other.test")
    host = f"[{SERVICE[family]}]" if family == "v6" else SERVICE[family]
    body = pathlib.Path(Certificates.folder.name, "body")
    body.write_bytes(Stream(31, 4 * MIB).part(0, 2 * MIB).tobytes() + Stream(31, 4 * MIB).part(2 * MIB, 2 * MIB))
    server = ("server {{ listen {}:{} ssl {}; ssl_protocols TLSv1.2 TLSv1.3; server_name {}; ssl_certificate {}; "
              "ssl_certificate_key {}; root {}; }}\n")
    return program(env, port, family, "daemon off; master_process off; error_log stderr; pid FOLDER/pid;\n"
                   "events { worker_connections 256; }\nhttp { access_log off; " +
                   "".join(f"{kind}_temp_path FOLDER/{kind};" for kind in
                           ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")) + "\n" +
                   server.format(host, port, "default_server", "other.test", *other, body.parent) +
                   server.format(host, port, "", NAME, *own, body.parent) + "}\n", "nginx", "-c", "FILE")


def ask_openssl(client):
    client.send(b"hello\n")
    check(client.receive(6) == b"olleh\n", "another answer")


def ask_gnutls(client):
    client.send(b"hello\n")
    check(client.receive(6) == b"hello\n", "another answer")


def ask_nginx(client):
    client.send(f"GET /body HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.receive(1)
    check(head.startswith(b"HTTP/1.1 200"), f"nginx says {head!r}")
    same(client, Stream(31, 4 * MIB))


PROGRAMS = {"openssl": (openssl, ask_openssl), "gnutls": (gnutls, ask_gnutls), "nginx": (nginx, ask_nginx)}


class TlsServer:
    """Notes the names it is asked for."""

    def __init__(self, listener):
        self.listener, self.names = listener, []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*Certificates.of(NAME))
        self.context.sni_callback = lambda _sock, name, _context: self.names.append(name)

    def accept(self, env):
        conn = self.context.wrap_socket(env.accept(self.listener), server_side=True)
        env.open.append(conn)
        return conn


def serve(env, server, up, down):
    conn = server.accept(env)
    taken = 0
    while taken < up.size:
        data = conn.recv(1 << 18)
        check(data, f"ended after {taken} bytes")
        up.compare(taken, data)
        taken += len(data)
    for at in range(0, down.size, MIB):
        conn.sendall(down.part(at, MIB))
    return conn
