"""What is compared: each peer is a name, a port and a way to start it in the router."""
import json
import os
import shutil

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


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


class Peer:
    program = None
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
        lab.wait_until(lambda: not self.is_up() or lab.is_listening(self.port), START_SECONDS)
        if not self.is_up() or not lab.is_listening(self.port):
            raise lab.Failure(f"{self.name} did not start: {self.said() or 'without a word'}")

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


class Route(Peer):
    """No proxy at all."""

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
        return listen, self.port, 2, "nginx", "-e", "stderr", "-p", self.directory, "-c", config


class Seam(Peer):
    """The name ends in the relay method."""

    def command(self):
        config = write(self.directory, "seam.json", json.dumps({
            "log": {"level": "warn"},
            "workers": 2,
            "inbounds": [{"type": "tproxy", "tag": "in", "listen": "::", "listen_port": self.port,
                          "network": "tcp"}],
            "outbounds": [{"type": "direct", "tag": "direct", "routing_mark": 1514}],
            "route": {"final": "direct"},
            "relay": {"method": self.name.partition("-")[2]},
            "control": {"socket": os.path.join(self.directory, "ctl.sock")},
        }))
        return self.program, "run", "-c", config


KINDS = {"route": Route, "haproxy": Haproxy, "haproxy-copy": HaproxyCopy, "nginx": Nginx}


def make(name, port, directory, seamd, before):
    """seam-METHOD is the daemon @seamd, before-METHOD an earlier one to compare it with."""
    kind = name.partition("-")[0]
    if kind in ("seam", "before"):
        peer = Seam(name, port, directory)
        peer.program = seamd if kind == "seam" else before or "--before"
        return peer
    return KINDS[name](name, port, directory)
