"""What is compared: each peer is a name, a port and a way to start it in the router."""
import contextlib
import json
import os
import shutil
import signal

import lab

FILES = 20000
START_SECONDS = 20
NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"

HAPROXY = """
global
	nbthread 2
	maxconn 6000
	maxpipes 1500
	tune.pipesize 262144
defaults
	mode tcp
	timeout connect 5s
	timeout client 120s
	timeout server 120s
	{splice}
listen bench
	bind 0.0.0.0:{port} transparent
	server original 0.0.0.0:0
"""

NGINX = """
{load_module}
pid {directory}/nginx.pid;
error_log stderr error;
worker_processes 2;
worker_rlimit_nofile {files};
events {{ worker_connections 9000; }}
stream {{
	access_log off;
	tcp_nodelay on;
	proxy_buffer_size 256k;
	proxy_timeout 120s;
	proxy_half_close on;
	server {{
		listen 0.0.0.0:{port} reuseport backlog=4096;
		proxy_pass $server_addr:$server_port;
	}}
}}
"""

NGINX_UDP = """
{load_module}
pid {directory}/nginx.pid;
error_log stderr error;
worker_processes 2;
worker_rlimit_nofile {files};
events {{ worker_connections 18000; }}
stream {{
	access_log off;
	proxy_timeout 10s;
	server {{
		listen 0.0.0.0:{port} udp reuseport;
		proxy_pass $server_addr:$server_port;
		{bind}
	}}
}}
"""


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


class Peer:
    networks = ("tcp",)
    most_sessions = 1 << 20
    transparent = False             # the server sees the client, of UDP
    sessions = 0                    # that come, of UDP; known before it starts
    forgiven = False                # wrong answers before every session has had a right one
    target = lab.SERVICE            # what the client writes to, of UDP
    program = None
    mapped_kib = 0                  # of a flow, where RSS holds it from the start, for as many as may come
    usual = ()                      # what it says when nothing is wrong

    def __init__(self, name, port, directory):
        self.name, self.port = name, port
        self.directory = os.path.join(directory, name)
        self.process = self.log = None
        os.makedirs(self.directory)

    def missing(self):
        return self.program and not shutil.which(self.program)

    def start(self):
        self.log = open(os.path.join(self.directory, "log"), "w+", encoding="utf-8",
                        errors="replace")
        self.process = lab.spawn("router", *self.command(), stdout=self.log, stderr=self.log)
        lab.wait_until(lambda: not self.is_up() or self.is_listening(), START_SECONDS)
        if not self.is_up() or not self.is_listening():
            raise lab.Failure(f"{self.name} did not start: {self.said() or 'without a word'}")

    def is_listening(self):
        return all(lab.is_listening(self.port, network) for network in self.networks)

    def is_up(self):
        return self.process.poll() is None

    def stop(self):
        if self.process:
            lab.stop(self.process)
        self.process = None

    def said(self):
        self.log.seek(0)
        lines = [line for line in self.log.read().splitlines()
                 if not any(usual in line for usual in self.usual)]
        return " | ".join(lines[-3:])

    def cpu_seconds(self):
        return lab.process_cpu_seconds(self.process.pid)

    def rss_kib(self):
        return lab.process_rss_kib(self.process.pid)

    def map_kib(self):
        return lab.process_map_kib(self.process.pid)

    def taken(self):
        """Flows that have left the proxy to the kernel's tc; None: it cannot do that."""
        return None


class Route(Peer):
    """No proxy at all."""
    networks = ("tcp", "udp")

    def __init__(self, name, _port, directory):
        super().__init__(name, None, directory)

    def start(self):
        pass

    def is_up(self):
        return True

    def said(self):
        return ""

    def cpu_seconds(self):
        return 0

    def rss_kib(self):
        return 0

    def map_kib(self):
        return 0


class Haproxy(Peer):
    """`haproxy-copy` is without splicing: slower in bulk, faster with small messages."""
    program = "haproxy"
    splice = "option splice-request\n\toption splice-response"

    def command(self):
        config = write(self.directory, "haproxy.cfg",
                       HAPROXY.format(port=self.port, splice=self.splice))
        return "haproxy", "-db", "-f", config


class HaproxyCopy(Haproxy):
    splice = ""


class Nginx(Peer):
    program = "nginx"
    usual = ("using inherited sockets",)

    def command(self):
        module = f"load_module {NGINX_STREAM};" if os.path.exists(NGINX_STREAM) else ""
        config = write(self.directory, "nginx.conf", NGINX.format(
            port=self.port, directory=self.directory, files=FILES, load_module=module))
        listen = os.path.join(os.path.dirname(os.path.abspath(__file__)), "transparent-listen")
        return listen, "tcp", self.port, 2, "nginx", "-e", "stderr", "-p", self.directory, "-c", config


class NginxUdp(Nginx):
    """At the port of the service, from which it answers."""
    networks = ("udp",)
    bind = ""

    def __init__(self, name, _port, directory):
        super().__init__(name, int(lab.SERVICE_PORT), directory)

    def command(self):
        module = f"load_module {NGINX_STREAM};" if os.path.exists(NGINX_STREAM) else ""
        config = write(self.directory, "nginx.conf", NGINX_UDP.format(
            port=self.port, directory=self.directory, files=FILES, load_module=module, bind=self.bind))
        listen = os.path.join(os.path.dirname(os.path.abspath(__file__)), "transparent-listen")
        return listen, "udp", self.port, 2, "nginx", "-e", "stderr", "-p", self.directory, "-c", config


class NginxUdpTransparent(NginxUdp):
    """The server sees the client."""
    transparent = True
    bind = "proxy_bind $remote_addr:$remote_port transparent;"


class Socat(Peer):
    """A process a session; at an address of its own, for it forgets ip-transparent after the first one."""
    program = "socat"
    networks = ("udp",)
    usual = ("Connection refused",)  # when the client has left
    most_sessions = 500
    forgiven = True                 # until it has connected a new socket, others' datagrams get into it
    target = lab.ROUTER

    def __init__(self, name, _port, directory):
        super().__init__(name, int(lab.SERVICE_PORT), directory)

    def command(self):
        return ("socat", "-T", "20", f"UDP4-LISTEN:{self.port},bind={self.target},reuseaddr,fork",
                f"UDP4:{lab.SERVICE}:{lab.SERVICE_PORT}")

    def stop(self):
        children = lab.family(self.process.pid)[1:] if self.process else ()
        super().stop()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


class Seam(Peer):
    """The name ends in the relay method."""

    def __init__(self, name, port, directory):
        super().__init__(name, port, directory)
        self.mapped_kib = 320 / 1024 if name.endswith("-packet") else 0  # struct seam_pair
        self.networks = ("tcp", "udp") if name.endswith(("-auto", "-packet")) else ("tcp",)

    def command(self):
        limits = {"max_flows": 100, "max_udp_sessions": self.sessions * 5 // 4} if self.sessions > 1000 else {}
        config = write(self.directory, "seam.json", json.dumps({
            "limits": limits,
            "log": {"level": "warn"},
            "workers": 2,
            "inbounds": [{"type": "tproxy", "tag": "in", "listen": "::", "listen_port": self.port,
                          "network": list(self.networks)}],
            "outbounds": [{"type": "direct", "tag": "direct", "routing_mark": 1514}],
            "route": {"final": "direct"},
            "relay": {"method": self.name.partition("-")[2], "on_exit": "close"},
            "control": {"socket": os.path.join(self.directory, "ctl.sock")},
        }))
        return self.program, "run", "-c", config

    def taken(self):
        if not self.name.endswith("-packet"):
            return None
        seamctl = os.path.join(os.path.dirname(self.program), "seamctl")
        socket = os.path.join(self.directory, "ctl.sock")
        flows = json.loads(lab.require(seamctl, "-j", "-s", socket, "flows", "list"))
        return sum(flow["state"] == "parked" for flow in flows)


KINDS = {"route": Route, "haproxy": Haproxy, "haproxy-copy": HaproxyCopy, "nginx": Nginx,
         "nginx-udp": NginxUdp, "nginx-udp-transparent": NginxUdpTransparent, "socat": Socat}


def make(name, port, directory, seamd, before):
    """seam-METHOD is the daemon @seamd, before-METHOD an earlier one to compare it with."""
    kind = name.partition("-")[0]
    if kind in ("seam", "before"):
        peer = Seam(name, port, directory)
        peer.program = seamd if kind == "seam" else before or "--before"
        return peer
    return KINDS[name](name, port, directory)
