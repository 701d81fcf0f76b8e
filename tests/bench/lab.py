"""The three namespaces, what runs in them, and what the machine says about itself."""
import contextlib
import os
import socket
import subprocess
import time

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/lab")
NAME = "sbench"
CLIENT, SERVICE, SERVICE_PORT = "10.77.1.2", "10.77.9.9", "5001"
ROUTER = "10.77.1.1"
CLIENTS = "10.80.0.0/16"            # that the client speaks as, too: see udp.c
MARK, TABLE = "0x5eb", "1515"       # not the mark that seamd puts on its own packets

RULES = """
table ip seam_bench
delete table ip seam_bench
table ip seam_bench {{
	chain prerouting {{
		type filter hook prerouting priority mangle; policy accept;
		{rules}
	}}
}}
"""
INTERCEPT = f"""
		ip daddr {SERVICE} tcp dport != 0 socket transparent 1 socket wildcard 0 meta mark set {MARK} accept
		ip daddr {SERVICE} meta l4proto tcp tproxy to :{{port}} meta mark set {MARK} accept
		ip daddr {SERVICE} meta l4proto udp tproxy to :{{port}} meta mark set {MARK} accept
		iifname != "lan0" meta l4proto udp socket transparent 1 socket wildcard 0 meta mark set {MARK} accept
"""


class Failure(Exception):
    """Something that makes a measurement worthless; the text is for the reader of the results."""


def inside(where, *command):
    return ["nsenter", f"--net=/run/netns/{NAME}-{where}", *map(str, command)]


def spawn(where, *command, **options):
    """Starts a process that does not outlive this one, even if this one is killed."""
    dies_with_us = ["setpriv", "--pdeathsig", "TERM"]
    return subprocess.Popen(dies_with_us + inside(where, *command), text=True, **options)


def stop(process):
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def require(*command, **options):
    try:
        done = subprocess.run(list(map(str, command)), text=True, capture_output=True, **options)
    except OSError as e:
        raise Failure(str(e))
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise Failure(f"{' '.join(map(str, command))}: {said}")
    return done.stdout


def lock():
    """Two benchmarks at once would measure each other. The name goes away with the process."""
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind(f"\0seam-bench-{NAME}")
    except OSError:
        raise Failure("another benchmark is running")
    return held


def tool(verb):
    require(TOOL, verb, env=dict(os.environ, SEAM_LAB=NAME))


def up():
    tool("up")                      # takes away what a killed run has left
    require(*inside("router", "ip", "rule", "add", "fwmark", MARK, "lookup", TABLE))
    require(*inside("router", "ip", "route", "add", "local", "default", "dev", "lo",
                    "table", TABLE))
    require(*inside("client", "ip", "route", "add", "local", CLIENTS, "dev", "lo"))
    require(*inside("router", "ip", "route", "add", CLIENTS, "via", CLIENT))
    require(*inside("server", "ip", "route", "add", CLIENTS, "via", "10.77.2.1"))


def intercept(port):
    """Sends what the client begins to the proxy on @port; None: routes it."""
    rules = INTERCEPT.format(port=port) if port else ""
    require(*inside("router", "nft", "-f", "-"), input=RULES.format(rules=rules))


def is_listening(port, network="tcp"):
    return bool(require(*inside("router", "ss", f"-Hln{network[0]}", f"sport = :{port}")))


def cpu_seconds():
    """Busy time of all CPUs: user, nice, system, irq, softirq."""
    with open("/proc/stat", encoding="ascii") as f:
        ticks = list(map(int, f.readline().split()[1:]))
    return (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / os.sysconf("SC_CLK_TCK")


def slab_kib():
    with open("/proc/meminfo", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Slab:"))


def stat_fields(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        return f.read().rpartition(")")[2].split()


def family(pid):
    """A process and its children."""
    pids = [pid]
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(stat_fields(entry)[1]) == pid:
                pids.append(int(entry))
        except OSError:
            continue
    return pids


def process_cpu_seconds(pid):
    """Children included, those that have ended, too."""
    ticks = 0
    for p in family(pid):
        with contextlib.suppress(OSError):
            ticks += sum(map(int, stat_fields(p)[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def process_rss_kib(pid):
    total = 0
    for p in family(pid):
        with contextlib.suppress(OSError), open(f"/proc/{p}/status", encoding="ascii") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
    return total


def process_map_kib(pid):
    """Of its BPF maps, what the kernel has allocated for them."""
    maps = {}
    for p in family(pid):
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{p}/fdinfo"):
                with contextlib.suppress(OSError), open(f"/proc/{p}/fdinfo/{name}", encoding="ascii") as f:
                    fields = dict(line.split(":", 1) for line in f if ":" in line)
                if "map_id" in fields:
                    maps[fields["map_id"]] = int(fields["memlock"])
    return sum(maps.values()) // 1024


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
