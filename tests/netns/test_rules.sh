#!/usr/bin/env bash
# The interception rules of deploy/, both back ends, with real packets: a small TPROXY listener
# stands in for seamd. Prints "ok NAME" or "not ok NAME: why" for each check. Exit status: 0 all
# passed, 1 not, 77 skipped.
# shellcheck disable=SC2317 # functions are called by name
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
export SEAM_LAB=rules$$
lab=$top/tools/lab
failed=0
pids=()

skip() {
	echo "$1"
	exit 77
}

((EUID == 0)) || skip "needs root"
for tool in ip nft iptables ip6tables nsenter nstat python3 sysctl; do
	command -v "$tool" >/dev/null || skip "needs $tool"
done
unshare -n true 2>/dev/null || skip "cannot make network namespaces"

tmp=$(mktemp -d)

finish() {
	local pid
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	"$lab" down || true
	rm -rf "$tmp"
}
trap finish EXIT

# peer.py proxy PORT      TPROXY listener: answers "proxy ADDRESS PORT", what the client meant
# peer.py serve PORT...   plain server: answers "direct ADDRESS", whom it sees
# peer.py ask PROTO ADDRESS PORT [size=N] [mark=N] [from=ADDRESS] [sport=N] [times=N] [wait=N]
#          [late=N]       prints the answer, or "nothing"; late: to a second datagram from the same
#                         socket, after one that is answered N seconds late
cat >"$tmp/peer.py" <<'END'
import ipaddress
import selectors
import socket
import struct
import sys
import time

IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
IP_ORIGDSTADDR, IPV6_ORIGDSTADDR = 20, 74
SO_MARK, PROXY_MARK = 36, 0x5EA
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


def plain(text):
    address = ipaddress.ip_address(text.split("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


def make(family, kind, transparent=False):
    sock = socket.socket(family, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if transparent and family == socket.AF_INET:
        sock.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    elif transparent:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    return sock


def listener(kind, port, transparent):
    sock = make(socket.AF_INET6, kind, transparent)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if kind == UDP and not transparent:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    if kind == UDP and transparent:
        sock.setsockopt(socket.SOL_IP, IP_ORIGDSTADDR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_ORIGDSTADDR, 1)
    sock.bind(("::", port))
    if kind == TCP:
        sock.listen(64)
    return sock


def answer_tcp(sock, transparent):
    conn, who = sock.accept()
    here = conn.getsockname()
    text = f"proxy {plain(here[0])} {here[1]}" if transparent else f"direct {plain(who[0])}"
    conn.sendall(text.encode())
    return conn


def original_destination(ancillary):
    for _, kind, data in ancillary:
        port = struct.unpack_from("!H", data, 2)[0]
        if kind == IP_ORIGDSTADDR:
            return socket.AF_INET, socket.inet_ntop(socket.AF_INET, data[4:8]), port
        if kind == IPV6_ORIGDSTADDR:
            return socket.AF_INET6, socket.inet_ntop(socket.AF_INET6, data[8:24]), port
    raise OSError("no original destination")


replies = {}


def answer_udp(sock, transparent):
    data, ancillary, _, who = sock.recvmsg(65536, 512)
    if not transparent:
        # From the address that was asked, by whichever interface.
        info = ancillary[0][2][:16] + bytes(4)
        text = f"direct {plain(who[0])} {len(data)}".encode()
        sock.sendmsg([text], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)], 0, who)
        return
    if data.startswith(b"late"):
        time.sleep(float(data[4:]))
    family, address, port = key = original_destination(ancillary)
    # Kept open, as a pool of them would be: it must not take the datagrams of the next client.
    if key not in replies:
        replies[key] = make(family, UDP, True)
        replies[key].setsockopt(socket.SOL_SOCKET, SO_MARK, PROXY_MARK)
        replies[key].bind((address, port))
    text = f"proxy {plain(address)} {port} {len(data)}".encode()
    replies[key].sendto(text, (plain(who[0]) if family == socket.AF_INET else who[0], who[1]))


def serve(ports, transparent):
    selector = selectors.DefaultSelector()
    for port in ports:
        for kind in (TCP, UDP):
            selector.register(listener(kind, port, transparent), selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if key.data == "held":
                # The client closes after it has read: this side closed first, and keeps TIME_WAIT.
                selector.unregister(key.fileobj)
                key.fileobj.close()
            elif key.fileobj.type == TCP:
                conn = answer_tcp(key.fileobj, transparent)
                conn.shutdown(socket.SHUT_WR)
                selector.register(conn, selectors.EVENT_READ, "held")
            else:
                answer_udp(key.fileobj, transparent)


def ask(proto, address, port, **options):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = make(family, TCP if proto == "tcp" else UDP, "from" in options)
    sock.settimeout(float(options.get("wait", 2)))
    if "mark" in options:
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, int(options["mark"], 0))
    if "from" in options or "sport" in options:
        sock.bind((options.get("from", ""), int(options.get("sport", 0))))
    try:
        sock.connect((address, int(port)))
        if "late" in options:
            sock.send(f"late {options['late']}".encode())
            sock.recv(65536)
        if proto == "udp":
            sock.send(bytes(int(options.get("size", 1))))
        data = sock.recv(65536)
        while proto == "tcp" and (more := sock.recv(65536)):
            data += more
        return data.decode() or "nothing"
    except OSError:
        return "nothing"
    finally:
        sock.close()


if sys.argv[1] == "ask":
    asked = dict(option.split("=") for option in sys.argv[5:])
    for _ in range(int(asked.get("times", 1))):
        last = ask(*sys.argv[2:5], **asked)
    print(last)
else:
    serve([int(port) for port in sys.argv[2:]], sys.argv[1] == "proxy")
END

# start NAMESPACE ARGUMENT... -- a peer in the background, ready when this returns; its pid is in
# $started.
start() {
	local log=$tmp/log.${#pids[@]} tries
	: >"$log"
	"$lab" enter "$1" python3 -ES "$tmp/peer.py" "${@:2}" >"$log" 2>&1 &
	started=$!
	pids+=("$started")
	for ((tries = 0; tries < 100; tries++)); do
		[[ $(<"$log") != ready* ]] || return 0
		sleep 0.05
	done
	echo "peer $* does not start: $(<"$log")"
	exit 1
}

result() {
	local name=$backend-$1 got=$2 want=$3
	if [[ $got == "$want" ]]; then
		echo "ok $name"
	else
		echo "not ok $name: got '$got', want '$want'"
		failed=1
	fi
}

# expect NAME WANTED NAMESPACE ASK-ARGUMENT... -- the answer starts with WANTED.
expect() {
	local name=$1 want=$2 namespace=$3 got
	shift 3
	got=$("$lab" enter "$namespace" python3 -ES "$tmp/peer.py" ask "$@")
	result "$name" "${got:0:${#want}}" "$want"
}

rules() {
	"$lab" rules "$backend" "$@"
}

# All that iptables, nft and ip know in the router. Comments hold the date, and warnings about who
# manages a table.
snapshot() {
	local command
	for command in iptables-save ip6tables-save "nft list ruleset" "ip rule" "ip -6 rule" \
		"ip route show table all" "ip -6 route show table all"; do
		echo "== $command"
		# shellcheck disable=SC2086 # split into words
		"$lab" enter router $command 2>/dev/null |
			sed -e '/^#/d' -e 's/counter packets [0-9]* bytes [0-9]*/counter/'
	done
}

same() {
	local name=$1 before=$2 after=$3 difference
	difference=$(diff <(echo "$before") <(echo "$after") | head -n 20) || true
	result "$name" "$difference" ""
}

# Addresses of the lab, for family $1: server's service address, its second uplink, router on the
# LAN, client.
addresses() {
	if [[ $1 == 4 ]]; then
		service=10.77.9.9 uplink=10.77.3.2 router_lan=10.77.1.1 router_wan=10.77.2.1 client=10.77.1.2
	else
		service=fd77:9::9 uplink=fd77:3::2 router_lan=fd77:1::1 router_wan=fd77:2::1 client=fd77:1::2
	fi
}

intercepted() {
	local proto=$1 family=$2
	expect "prerouting-$proto$family" "proxy $service 7000" client "$proto" "$service" 7000
	expect "output-$proto$family" "proxy $service 7000" router "$proto" "$service" 7000
	expect "port-of-listener-elsewhere-$proto$family" "proxy $service 12345" client "$proto" "$service" 12345
}

left_alone() {
	local proto=$1 family=$2
	expect "bypass-$proto$family" "direct $client" client "$proto" "$uplink" 7000
	expect "bypass-output-$proto$family" "direct" router "$proto" "$uplink" 7000
	expect "bypass-port-of-listener-$proto$family" "direct $client" client "$proto" "$uplink" 12345
	expect "proxy-mark-$proto$family" "direct $router_wan" router "$proto" "$service" 7000 mark=0x5ea
	expect "proxy-mark-other-bits-$proto$family" "direct $router_wan" router "$proto" "$service" 7000 mark=0x205ea
	expect "own-address-from-lan-$proto$family" "direct $client" client "$proto" "$router_lan" 7001
	expect "own-address-from-wan-$proto$family" "direct" server "$proto" "$router_wan" 7001
	expect "own-address-from-self-$proto$family" "direct" router "$proto" "$router_lan" 7001
	expect "from-wan-to-lan-$proto$family" "direct" server "$proto" "$client" 7000
	expect "transparent-source-$proto$family" "direct $client" router "$proto" "$service" 7000 mark=0x5ea \
		from="$client" sport=4321
}

protected() {
	local proto=$1 family=$2
	expect "listener-from-lan-$proto$family" nothing client "$proto" "$router_lan" 12345 wait=0.3
	expect "listener-from-wan-$proto$family" nothing server "$proto" "$router_wan" 12345 wait=0.3
	expect "listener-from-self-$proto$family" nothing router "$proto" "$router_lan" 12345 wait=0.3
}

both_families() {
	local check=$1 family proto
	for family in 4 6; do
		addresses "$family"
		for proto in tcp udp; do
			"$check" "$proto" "$family"
		done
	done
}

# A SYN that a TIME_WAIT socket answers costs a reset and a second SYN.
client_resets() {
	"$lab" enter client nstat -asz TcpOutRsts | grep Tcp
}

# The router's connection tracking forgets what a client sent, then the server answers: the client's
# next datagram is no answer to the server.
forgotten() {
	local family setting=net.netfilter.nf_conntrack_udp_timeout
	"$lab" enter router sysctl -q "$setting=1" "${setting}_stream=1"
	for family in 4 6; do
		addresses "$family"
		expect "forgotten-prerouting-$family" "proxy $service 7000" client udp "$service" 7000 late=1.5 wait=4
		expect "forgotten-output-$family" "proxy $service 7000" router udp "$service" 7000 late=1.5 wait=4
	done
	"$lab" enter router sysctl -q "$setting=30" "${setting}_stream=120"
}

# What leaves for servers with a client's address still is tracked: it may be masqueraded.
masqueraded() {
	local family
	"$lab" enter router nft -f - <<-END
		table inet rules_test {
			chain postrouting {
				type nat hook postrouting priority srcnat; policy accept;
				oifname "wan0" masquerade
			}
		}
	END
	for family in 4 6; do
		addresses "$family"
		expect "masqueraded-transparent-source-udp$family" "direct $router_wan" router udp "$service" 7000 \
			mark=0x5ea from="$client" sport=4322
	done
	"$lab" enter router nft delete table inet rules_test
}

check_traffic() {
	local proxy family resets setting
	local settings=(ipv4.conf.all.rp_filter ipv4.conf.all.src_valid_mark ipv4.tcp_fwmark_accept)
	start router proxy 12345
	proxy=$started

	both_families intercepted
	both_families left_alone
	both_families protected
	for family in 4 6; do
		addresses "$family"
		expect "large-datagram-$family" "proxy $service 7000 60000" client udp "$service" 7000 size=60000
		# The second connection from the same port meets the first one's TIME_WAIT in the
		# router.
		resets=$(client_resets)
		expect "time-wait-reuse-$family" "proxy $service 7000" client tcp "$service" 7000 sport=5000 times=3
		result "time-wait-reuse-no-reset-$family" "$(client_resets)" "$resets"
	done

	forgotten
	masqueraded

	for setting in "${settings[@]}"; do
		"$lab" enter router sysctl -q "net.$setting=1"
		expect "$setting-prerouting" "proxy 10.77.9.9 7000" client tcp 10.77.9.9 7000
		expect "$setting-output" "proxy 10.77.9.9 7000" router tcp 10.77.9.9 7000
		expect "$setting-transparent-source" "direct 10.77.1.2" router tcp 10.77.9.9 7000 \
			mark=0x5ea from=10.77.1.2
	done
	for setting in "${settings[@]}"; do
		"$lab" enter router sysctl -q "net.$setting=0"
	done

	rules install
	for family in 4 6; do
		addresses "$family"
		expect "no-output-$family" "direct $router_wan" router tcp "$service" 7000
	done
	rules install --tcp-only
	expect "tcp-only-tcp" "proxy" client tcp 10.77.9.9 7000
	expect "tcp-only-udp" "direct" client udp 10.77.9.9 7000
	rules install --udp-only --table 77 --mark 0x123 --output-mark 0x124
	expect "udp-only-tcp" "direct" client tcp 10.77.9.9 7000
	expect "udp-only-udp" "proxy" client udp 10.77.9.9 7000

	rules install
	kill "$proxy"
	wait "$proxy" 2>/dev/null || true
	for family in 4 6; do
		addresses "$family"
		expect "closed-without-listener-tcp$family" nothing client tcp "$service" 7000 wait=0.3
		expect "closed-without-listener-udp$family" nothing client udp "$service" 7000 wait=0.3
	done
}

check_backend() {
	local before once options=(--output --bypass4 10.77.3.2 --bypass6 fd77:3::/64)
	before=$(snapshot)
	rules check >/dev/null && result not-there-before yes no

	rules install "${options[@]}"
	once=$(snapshot)
	result check-says-installed "$(rules check)" installed
	rules install "${options[@]}"
	same install-twice "$once" "$(snapshot)"

	check_traffic

	rules remove
	same remove-leaves-nothing "$before" "$(snapshot)"
	rules remove
	same remove-twice "$before" "$(snapshot)"
}

# Rules of others, in the very chains that are used.
foreign_rules() {
	local tool
	for tool in iptables ip6tables; do
		"$lab" enter router "$tool" -w -t mangle -"$1" PREROUTING -i wan1 -j MARK --set-mark 0x1000
		"$lab" enter router "$tool" -w -t mangle -"$1" OUTPUT -o wan1 -j ACCEPT
		"$lab" enter router "$tool" -w -t raw -"$1" OUTPUT -o wan1 -j ACCEPT
	done
}

check_beside_others() {
	local before
	foreign_rules A
	before=$(snapshot)
	rules install --output
	rules remove
	same remove-beside-others "$before" "$(snapshot)"

	rules install --output
	foreign_rules D
	foreign_rules A
	rules remove
	same remove-after-others-came "$before" "$(snapshot)"
	foreign_rules D
}

check_refusals() {
	local before option answer
	before=$(snapshot)
	for option in "--port 0" "--port 70000" "--mark 0x1000" "--mark 0x5ea" \
		"--output-mark 0x5eb" "--table 254" "--lan a;b" "--bypass4 1.2.3.4;x" \
		"--bypass4 1.2.3.4/33" "--bypass6 fd00::/129" "--nonsense"; do
		# shellcheck disable=SC2086 # split into words
		answer=$(rules install $option >/dev/null 2>&1 && echo accepted || echo refused)
		result "refuses ${option#--}" "$answer" refused
	done
	same refusals-change-nothing "$before" "$(snapshot)"
}

"$lab" up
start server serve 7000 12345
start client serve 7000
start router serve 7001
for backend in nft iptables; do
	check_backend
	check_refusals
done
for backend in nft iptables; do
	check_beside_others
done
exit $failed
