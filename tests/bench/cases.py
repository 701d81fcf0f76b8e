"""The cases: their traffic, the checks before a number is believed, and the numbers."""
import json
import re
import subprocess
import time

import lab

# command of the load generator, flows where the name has no number, the number that is compared
KINDS = {
    "bulk": ("bulk", 1, "gbit_s"),
    "reverse": ("reverse", 1, "gbit_s"),
    "pp": ("pingpong", 1, "per_s"),
    "connect": ("connect", 64, "per_s"),
    "idle": ("idle", 4000, "rss_kib"),
    "parked": ("parked", 4000, "rss_kib"),
    "udp64x": ("udp", 1, "packets_s"),
    "udp1200x": ("udp", 1, "packets_s"),
}
UDP = [f"{kind}x{sessions}" for sessions in (1, 100, 10000) for kind in ("udp64", "udp1200")]
LESS_IS_BETTER = {"rss_kib"}
SETTLE_SECONDS = 1
IDLE_SECONDS = 90                   # to open the flows; they go as soon as they are measured


class Case:
    def __init__(self, name):
        match = re.fullmatch(f"({'|'.join(KINDS)})([1-9][0-9]*)?", name)
        if not match:
            raise ValueError(f"no case {name}; there are {', '.join(KINDS)}, each with a number")
        self.name, self.kind = name, match[1]
        self.command, flows, self.main = KINDS[self.kind]
        self.flows = int(match[2] or flows)
        self.less_is_better = self.main in LESS_IS_BETTER
        self.network = "udp" if self.command == "udp" else "tcp"
        self.bytes = int(self.kind[3:-1]) if self.command == "udp" else 0

    def fits(self, peer):
        return self.network in peer.networks and (self.network == "tcp" or self.flows <= peer.most_sessions)


def last_json(text, who):
    try:
        return json.loads(text.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise lab.Failure(f"{who} ended without a result")


def check(client, server, command, flows, proxied):
    """Every connection took the way it should have, and every byte arrived."""
    wrong, right = (server["direct"], server["relayed"])[::1 if proxied else -1]
    if wrong or right < flows:
        raise lab.Failure(
            f"{server['relayed']} connections came through the proxy and {server['direct']} past it")
    if server["errors"]:
        raise lab.Failure(f"{server['errors']} connections ended with an error at the server")
    arrived = {"bulk": server["received"], "reverse": server["sent"]}.get(command, client["bytes"])
    if arrived != client["bytes"]:
        raise lab.Failure(f"server counts {arrived} bytes, client {client['bytes']}")


def drive(load, command, flows, seconds, proxied, on_ready=None):
    """Runs one kind of traffic; what the client measured. @on_ready: once all idle flows are open."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = lab.spawn("server", load, "server", lab.SERVICE_PORT, lab.CLIENT, **pipes)
    client = None
    try:
        if "listening" not in server.stdout.readline():
            raise lab.Failure("the server of the load generator did not start")
        client = lab.spawn("client", load, command, lab.SERVICE, lab.SERVICE_PORT, flows, seconds,
                           **pipes)
        said = ""
        if on_ready:
            said = client.stdout.readline()
            if "ready" in said:
                on_ready()
        said += client.communicate(timeout=seconds + 30)[0]
        result = last_json(said, "the client")
        if "error" in result:
            raise lab.Failure(result["error"])
        server.terminate()
        seen = last_json(server.communicate(timeout=10)[0], "the server")
    except subprocess.TimeoutExpired:
        raise lab.Failure("the load generator hangs")
    finally:
        for process in filter(None, (client, server)):
            lab.stop(process)
            process.stdin.close()
            process.stdout.close()
    if "error" in seen:
        raise lab.Failure(f"server: {seen['error']}")
    check(result, seen, command, flows, proxied)
    return result


class Usage:
    """Differences of what machine and proxy have used since it was made."""

    def __init__(self, peer):
        self.peer = peer
        self.start = self.now()

    def now(self):
        return lab.cpu_seconds(), self.peer.cpu_seconds(), self.peer.rss_kib(), lab.slab_kib(), self.peer.map_kib()

    def since(self):
        return [b - a for a, b in zip(self.start, self.now())]


def traffic(case, peer, load, seconds):
    usage = Usage(peer)
    result = drive(load, case.command, case.flows, seconds, peer.port is not None)
    cpu, proxy_cpu = usage.since()[:2]
    if case.main == "gbit_s":
        gb = result["bytes"] / 1e9
        return {"gbit_s": round(gb * 8 / result["seconds"], 3), "cpu_s_per_gb": round(cpu / gb, 3),
                "proxy_cpu_s_per_gb": round(proxy_cpu / gb, 3)}
    return {"per_s": round(result["exchanges"] / result["seconds"], 1), "p50_us": result["p50_us"],
            "p99_us": result["p99_us"], "cpu_us_each": round(cpu * 1e6 / result["exchanges"], 1),
            "proxy_cpu_us_each": round(proxy_cpu * 1e6 / result["exchanges"], 1)}


def datagrams(case, peer, load, seconds):
    """WINDOW of them under way, echoed by the server: both ways count."""
    pipes = {"stdout": subprocess.PIPE}
    server = lab.spawn("server", f"{load}-udp", "server", lab.SERVICE, lab.SERVICE_PORT, **pipes)
    client = None
    try:
        if "listening" not in server.stdout.readline():
            raise lab.Failure("the server of the load generator did not start")
        client = lab.spawn("client", f"{load}-udp", "echo", peer.target, lab.SERVICE_PORT, case.flows, case.bytes,
                           seconds, **pipes)
        said = client.stdout.readline()
        usage = Usage(peer)
        said += client.communicate(timeout=seconds + 30)[0]
        cpu, proxy_cpu = usage.since()[:2]
        result = last_json(said, "the client")
        if "error" in result:
            raise lab.Failure(result["error"])
        server.terminate()
        seen = last_json(server.communicate(timeout=10)[0], "the server")
    except subprocess.TimeoutExpired:
        raise lab.Failure("the load generator hangs")
    finally:
        for process in filter(None, (client, server)):
            lab.stop(process)
            process.stdout.close()
    return numbers(result, seen, case, peer, (cpu, proxy_cpu))


def numbers(result, seen, case, peer, used):
    """Of the load generator's two ends."""
    wrong, right = (seen["direct"], seen["relayed"])[::-1 if peer.port is None or peer.transparent else 1]
    if wrong or right < case.flows:
        raise lab.Failure(f"{seen['relayed']} datagrams came through the proxy and {seen['direct']} past it")
    if result["wrong"] or result["wrong_at_start"] and not peer.forgiven or not result["answered"]:
        raise lab.Failure(f"{result['wrong']} wrong answers, and {result['wrong_at_start']} at the start, "
                          f"{result['answered']} right ones")
    packets = 2 * result["answered"]
    return {"packets_s": round(packets / result["seconds"]), "cpu_us_each": round(used[0] * 1e6 / packets, 2),
            "proxy_cpu_us_each": round(used[1] * 1e6 / packets, 2),
            "lost_percent": round(100 * result["lost"] / result["sent"], 2)}


def memory(case, peer, load):
    usage, grown = Usage(peer), []

    def on_ready():
        time.sleep(SETTLE_SECONDS)
        grown.extend(usage.since())
        if case.kind == "parked" and peer.taken() not in (None, case.flows):
            raise lab.Failure(f"{peer.taken()} of {case.flows} flows were taken over")

    drive(load, case.command, case.flows, IDLE_SECONDS, peer.port is not None, on_ready)
    if not grown:
        raise lab.Failure("the idle flows were never all open")
    rss = grown[2] / case.flows
    return {"rss_kib": round(rss, 3), "held_kib": round(rss + peer.mapped_kib, 3),
            "slab_kib": round(grown[3] / case.flows, 3),
            "map_kib": round(grown[4] / case.flows, 3), "rss_before_kib": usage.start[2],
            "map_before_kib": usage.start[4]}


def run(case, peer, load, seconds, during=None):
    """One measurement with a fresh proxy, which a short warm-up has shown to be in the way."""
    try:
        lab.intercept(None)
        peer.sessions = case.flows if case.network == "udp" else 0
        peer.start()
        lab.intercept(peer.port)
        if case.network == "tcp":
            drive(load, "pingpong", 1, 0.2, peer.port is not None)
        if during:
            during()
        if case.network == "udp":
            line = datagrams(case, peer, load, seconds)
        elif case.main == "rss_kib":
            line = memory(case, peer, load)
        else:
            line = traffic(case, peer, load, seconds)
        if not peer.is_up():
            raise lab.Failure(f"{peer.name} ended on the way")
        return line
    except (lab.Failure, OSError) as e:
        said = peer.said()
        return {"error": f"{e} ({said})" if said and said not in str(e) else str(e)}
    finally:
        peer.stop()
