# shellcheck shell=bash disable=SC2034 # the scripts that read this file use the options
# What deploy/nftables/seam-rules and deploy/iptables/seam-rules share: the command line and the
# policy routing. The script that reads this file defines rules_test, rules_apply, rules_remove,
# rules_show and rules_check.

port=12345
mark=0x5eb        # intercepted packets: policy routing delivers them to this machine
output_mark=0x5ec # this machine's own packets, on their way to lo to be intercepted there
proxy_mark=0x5ea  # seamd's own packets (1514, its default routing_mark): never intercepted
table=5355
lan=()
output=
protos=(tcp udp)
bypass4=()
bypass6=()

# Only these bits of a mark are ours; the others stay free for the user's own policy routing.
readonly mark_mask=0xfff
# Before the rules of multi-WAN managers (1000 and up): the mark is set by us alone, so there is
# nothing to weigh.
readonly rule_pref=535
# `ip rule` and `ip route` entries carry this number as their origin, so that remove needs no
# options and no state.
readonly origin=94

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

usage() {
	cat <<END
usage: ${0##*/} install|remove|show|check [OPTION]...
  --port N          port of the tproxy listener (12345)
  --mark N          mark of intercepted packets, 1 to 0xfff (0x5eb)
  --output-mark N   mark of this machine's packets that are to be intercepted, 1 to 0xfff (0x5ec)
  --proxy-mark N    mark of seamd's own packets, 1 to 0xfff (0x5ea)
  --table N         routing table for intercepted packets (5355)
  --lan IFACE       intercept what arrives on IFACE; repeatable
  --output          intercept what this machine itself sends, too
  --tcp-only        TCP only
  --udp-only        UDP only
  --bypass4 CIDR    leave this IPv4 destination alone; repeatable
  --bypass6 CIDR    leave this IPv6 destination alone; repeatable
install replaces what an earlier install made; remove and show need no options.
END
}

bad_usage() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	usage >&2
	exit 2
}

# The values end up in rulesets that a parser reads: nothing but what they should look like gets
# there.
need_number() {
	local name=$1 value=$2 max=$3
	need_match "$name" "$value" '^(0x[0-9A-Fa-f]{1,8}|[1-9][0-9]{0,9})$'
	((value >= 1 && value <= max)) || bad_usage "$name: $value is not in 1 to $max"
}

need_match() {
	local name=$1 value=$2 pattern=$3
	[[ $value =~ $pattern ]] || bad_usage "$name: cannot use '$value'"
}

parse_options() {
	while (($#)); do
		case $1 in
		--output) output=1 ;;
		--tcp-only) protos=(tcp) ;;
		--udp-only) protos=(udp) ;;
		--port | --mark | --output-mark | --proxy-mark | --table | --lan | --bypass4 | --bypass6)
			(($# > 1)) || bad_usage "$1 needs a value"
			parse_value "$1" "$2"
			shift
			;;
		*) bad_usage "unknown option '$1'" ;;
		esac
		shift
	done
	((mark != proxy_mark && mark != output_mark && output_mark != proxy_mark)) ||
		bad_usage "the three marks must differ"
}

parse_value() {
	case $1 in
	--port)
		need_number "$1" "$2" 65535
		port=$2
		;;
	--mark)
		need_number "$1" "$2" $((mark_mask))
		mark=$2
		;;
	--output-mark)
		need_number "$1" "$2" $((mark_mask))
		output_mark=$2
		;;
	--proxy-mark)
		need_number "$1" "$2" $((mark_mask))
		proxy_mark=$2
		;;
	--table)
		need_number "$1" "$2" $((0xffffffff))
		table=$(($2))
		((table < 253 || table > 255)) ||
			bad_usage "$1: $table is one of the system's own tables"
		;;
	--lan)
		need_match "$1" "$2" '^[A-Za-z0-9_.@-]{1,15}$'
		lan+=("$2")
		;;
	--bypass4)
		need_match "$1" "$2" '^[0-9.]+(/[0-9]+)?$'
		bypass4+=("$2")
		;;
	--bypass6)
		need_match "$1" "$2" '^[0-9A-Fa-f:.]+(/[0-9]+)?$'
		bypass6+=("$2")
		;;
	esac
}

# Families with routing here. A kernel without IPv6 has nothing to intercept there.
families() {
	echo 4
	[[ ! -e /proc/net/if_inet6 ]] || echo 6
}

# `rule show` does not filter by origin, `rule flush` does.
route_rules() {
	ip -N "-$1" rule show | grep "proto $origin\$" || true
}

route_routes() {
	ip -N "-$1" route show table all proto "$origin"
}

# The rules as `ip rule show` prints them. "iif lo" is a packet that this machine sends, or the
# kernel asking for the way back to a source: with src_valid_mark (wg-quick sets it) it asks with
# the mark, and "local" would be the wrong answer. So they pass by.
wanted_rules() {
	local intercepted own
	intercepted=$(printf '0x%x/%s' "$mark" "$mark_mask")
	own=$(printf '0x%x/%s' "$output_mark" "$mark_mask")
	cat <<END
$((rule_pref - 1)):	from all fwmark $intercepted iif lo goto $((rule_pref + 1)) proto $origin
$rule_pref:	from all fwmark $intercepted lookup $table proto $origin
$rule_pref:	from all fwmark $own lookup $table proto $origin
$((rule_pref + 1)):	from all nop proto $origin
END
}

route_install() {
	local family pref rule
	for family in $(families); do
		# A second install leaves them in place: marked packets of live flows must not see a
		# gap.
		[[ $(route_rules "$family") != "$(wanted_rules)" ||
			-z $(route_routes "$family") ]] || continue
		route_remove "$family"
		ip "-$family" route replace local default dev lo table "$table" protocol "$origin"
		wanted_rules | while IFS=$':\t' read -r pref rule; do
			# shellcheck disable=SC2086 # split into words
			ip "-$family" rule add pref "$pref" $rule
		done
	done
}

route_remove() {
	ip "-$1" rule flush protocol "$origin"
	ip "-$1" route flush table all proto "$origin"
}

route_check() {
	local family status=0
	for family in $(families); do
		if [[ -z $(route_rules "$family") ]]; then
			echo "missing: IPv$family routing rules for the marks"
			status=1
		fi
		if [[ -z $(route_routes "$family") ]]; then
			echo "missing: IPv$family local default route"
			status=1
		fi
	done
	return $status
}

# Nothing here has a say in packets that tc translates already.
mention_taken() {
	[[ -z $(compgen -G '/sys/fs/bpf/seam_*/packet_v*') ]] ||
		echo "${0##*/}: flows that tc carries, if there are any, go on; to end them: seamctl packet remove," \
			"or seamd cleanup where no seamd runs" >&2
}

rules_main() {
	local command=${1-} family status=0
	case $command in
	install | remove | show | check) shift ;;
	-h | --help | help)
		usage
		exit 0
		;;
	*) bad_usage "want install, remove, show or check" ;;
	esac
	parse_options "$@"
	((EUID == 0)) || die "needs root"

	case $command in
	install)
		[[ ${#lan[@]} -gt 0 || -n $output ]] ||
			bad_usage "install needs --lan or --output: nothing would be intercepted"
		rules_test || die "the ruleset was refused, nothing is changed"
		# Routing first: a marked packet that no rule delivers here would leave for the
		# server.
		route_install
		rules_apply
		;;
	remove)
		rules_remove
		for family in $(families); do
			route_remove "$family"
		done
		mention_taken
		;;
	show)
		rules_show
		for family in $(families); do
			route_rules "$family"
			route_routes "$family"
		done
		;;
	check)
		rules_check || status=1
		route_check || status=1
		((status)) || echo "installed"
		exit $status
		;;
	esac
}
