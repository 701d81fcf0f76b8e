#!/usr/bin/env bash
# What seamd says and does when the kernel says no: without BPF it splices, without CAP_NET_ADMIN it names what it
# lacks, and a method that is forced but not possible is an error at start. Packets likewise: auto goes on without.
# shellcheck disable=SC2016,SC2317 # check() evaluates its second word, the trap calls cleanup()
set -uo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
seamd=${SEAMD:-$top/build/dev/bin/seamd}
seamctl=${SEAMCTL:-$top/build/dev/bin/seamctl}
name=seam-degrade-$$
work=$(mktemp -d)
failed=0

cleanup() {
	[[ -z ${daemon:-} ]] || kill "$daemon" 2>/dev/null
	ip netns del "$name" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

if ((EUID != 0)) || ! command -v setpriv >/dev/null; then
	echo "skip degrade: needs root and setpriv"
	exit 77
fi
ip netns add "$name" && ip -n "$name" link set lo up || exit 1

config() {
	cat >"$work/$1.json" <<END
{"inbounds":[{"type":"tproxy","tag":"in","listen":"::","listen_port":12345}],
 "relay":{"method":"$1"},"control":{"socket":"$work/ctl.sock"}}
END
}

# start METHOD CAPABILITIES-TO-DROP [WRAPPER...]
start() {
	config "$1"
	nsenter --net="/run/netns/$name" "${@:3}" setpriv --bounding-set="$2" --inh-caps="$2" \
		"$seamd" run -c "$work/$1.json" >"$work/log" 2>&1 &
	daemon=$!
}

answers() {
	local tries
	for ((tries = 0; tries < 50; tries++)); do
		"$seamctl" -s "$work/ctl.sock" status >"$work/status" 2>/dev/null && return
		sleep 0.1
	done
}

# Without a bpffs, and without a place for one.
readonly no_bpffs=(unshare --mount sh -c 'mount -t tmpfs none /sys/fs && exec "$@"' sh)

check() {
	if eval "$2"; then
		echo "ok degrade/$1"
	else
		echo "not ok degrade/$1: $2"
		sed 's/^/#   /' "$work/log"
		failed=1
	fi
}

no_bpf=-bpf,-perfmon,-sys_admin
no_net=-net_admin,-net_raw,-sys_admin

start auto "$no_bpf"
answers
check auto-without-bpf/runs 'kill -0 $daemon'
check auto-without-bpf/says-why-once '[[ $(grep -c "no sockmap: .*CAP_BPF" "$work/log") == 1 ]]'
check auto-without-bpf/status 'grep -q "sockmap.*CAP_BPF" "$work/status"'
check auto-without-bpf/packet-says-why-once '[[ $(grep -c "packet: not used: .*CAP_BPF" "$work/log") == 1 ]]'
check auto-without-bpf/packet-status 'grep -q "packet .*not used: .*CAP_BPF" "$work/status"'
kill "$daemon"
wait "$daemon"
check auto-without-bpf/exit-0 "(($? == 0))"

start sockmap "$no_bpf"
wait "$daemon"
check sockmap-without-bpf/exit-1 "(($? == 1))"
check sockmap-without-bpf/says-why 'grep -q "relay.method sockmap is not possible: .*CAP_BPF" "$work/log"'

start packet "$no_bpf"
wait "$daemon"
check packet-without-bpf/exit-1 "(($? == 1))"
check packet-without-bpf/says-why 'grep -q "relay.method packet is not possible: .*CAP_BPF" "$work/log"'

start auto "-sys_boot" "${no_bpffs[@]}"
answers
check auto-without-bpffs/runs 'kill -0 $daemon'
check auto-without-bpffs/says-why-once '[[ $(grep -c "packet: not used: pinning in a bpffs: " "$work/log") == 1 ]]'
check auto-without-bpffs/gives-no-wrong-advice '! grep -q "pinning.*BTF" "$work/log"'
check auto-without-bpffs/status 'grep -q "packet .*not used: pinning in a bpffs" "$work/status"'
kill "$daemon"
wait "$daemon"
check auto-without-bpffs/exit-0 "(($? == 0))"

start packet "-sys_boot" "${no_bpffs[@]}"
wait "$daemon"
check packet-without-bpffs/exit-1 "(($? == 1))"
check packet-without-bpffs/says-why 'grep -q "relay.method packet is not possible: pinning in a bpffs" "$work/log"'

start auto "$no_net"
wait "$daemon"
check without-net-admin/exit-1 "(($? == 1))"
check without-net-admin/names-call 'grep -q "setsockopt(IPV6_TRANSPARENT).*CAP_NET_ADMIN" "$work/log"'
daemon=
exit "$failed"
