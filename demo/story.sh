# What is told, and what is checked.
bold=''; plain=''
if [ -t 1 ]; then bold=$'\e[1m'; plain=$'\e[0m'; fi
tell() { printf '\n%s── %s%s\n' "$bold" "$*" "$plain"; }
show() { printf '   $ %s\n' "$*"; "$@" 2>&1 | sed 's/^/     /'; }
checks=0
check() {
	local what=$1; shift
	if "$@" >/dev/null 2>&1; then
		checks=$((checks + 1)); printf '   ✓ %s\n' "$what"
	else
		printf '   ✗ %s\n     (%s)\n' "$what" "$*" >&2; exit 1
	fi
}
not() { ! "$@"; }
field() { podwalk inspect "$1" | jq -r "$2"; }
# Hidden files are the daemon's own: the pause program that all bundles link to.
nothing_in() { [ -z "$(ls "$1" 2>/dev/null)" ]; }

# The cgroups are the machine's, where others may have theirs under the usual names.
group=podwalk-demo-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
printf '[cgroup]\nparent = "%s"\neffects = "%s-effects"\n' "$group" "$group" > /run/podwalk.toml

sandboxes() { grep -sx 'pause' /proc/[0-9]*/comm; }

daemon=
serve() {
	podwalk serve --config /run/podwalk.toml 2>>/run/daemon.log &
	daemon=$!
	# It is up when it answers; every try is a real question to it.
	until podwalk ps >/dev/null 2>&1; do
		kill -0 "$daemon" || { cat /run/daemon.log >&2; exit 1; }
	done
}

tell "A daemon with two networks, blue (dual stack) and amber"
serve
show podwalk ps

tell "Three pods: a plain one, one with two networks, one with a host port"
plain_pod=$(podwalk run --name plain)
both=$(podwalk run --name both --annotation k8s.v1.cni.cncf.io/networks=amber)
web=$(podwalk run --name web --port 8080:80)
show podwalk ps
for pod in plain both web; do
	check "$pod answers a ping on $(field $pod .networkSettings.IPAddress)" \
		ping -c 1 -W 5 "$(field $pod .networkSettings.IPAddress)"
done
check "$both has a second interface, net1 on amber" \
	sh -c "ip -n $both -br address show net1 | grep -q 10.99.0."
ip netns exec "$web" busybox httpd -f -p 80 -h /etc/cni/net.d &
server=$!
fetched() {
	timeout 10 bash -c 'exec 3<>/dev/tcp/10.88.0.1/8080
		printf "GET /10-blue.conflist HTTP/1.0\r\n\r\n" >&3; grep -q blue0 <&3'
}
listening() { ip netns exec "$web" ss -Hltn 'sport = :80' | grep -q LISTEN; }
until listening; do kill -0 "$server"; done
check "port 8080 of the host leads to port 80 in web" fetched
kill "$server"; wait "$server" 2>/dev/null || true

tell "What inspect says is what the kernel says"
podwalk inspect both | jq '{state, ready, networkSettings: (.networkSettings |
	{SandboxKey, IPAddress, Gateway, MacAddress, GlobalIPv6Address, Networks: (.Networks | keys)})}' |
	sed 's/^/     /'
check "the address is on eth0 in the namespace" \
	sh -c "ip -n $both -o -4 address show eth0 | grep -q '$(field both .networkSettings.IPAddress)/'"
check "the hardware address is eth0's" \
	sh -c "ip -n $both link show eth0 | grep -q '$(field both .networkSettings.MacAddress)'"
check "the sandbox is in the namespace that is pinned on SandboxKey" \
	test "$(stat -Lc %i "/proc/$(field both .sandbox.pid)/ns/net")" = \
	"$(stat -Lc %i "$(field both .networkSettings.SandboxKey)")"
check "each of the three is one process, named pause" test "$(sandboxes | wc -l)" = 3

tell "SIGKILL, while a fourth pod is on its way"
podwalk events --output json > /run/events 2>/dev/null &
events=$!
until [ "$(podwalk ps 2>/dev/null | wc -l)" -ge 4 ]; do :; done
podwalk run --name late >/dev/null 2>&1 &
late=$!
# As soon as its network is ready to be configured, the daemon dies.
until grep -q '"event":"network-ready"' /run/events; do kill -0 "$events"; done
kill -9 "$daemon"; wait "$daemon" 2>/dev/null || true
wait "$late" 2>/dev/null || true; wait "$events" 2>/dev/null || true
echo "   the daemon is dead; its journal is read from a copy:"
show podwalk plan

tell "It comes back, and does what it planned"
serve
settled() { [ "$(podwalk ps --output json | jq '[.[] | select(.ready)] | length')" = 4 ]; }
until settled; do kill -0 "$daemon"; done
grep -E 'recover' /run/daemon.log | sed 's/^/     /' | cut -c 1-160
show podwalk ps
check "the three pods kept their addresses" \
	test "$(field plain .networkSettings.IPAddress) $(field web .networkSettings.IPAddress)" = "10.88.0.2 10.88.0.4"
check "the fourth answers a ping too" ping -c 1 -W 5 "$(field late .networkSettings.IPAddress)"

tell "Stop: the sandbox dies, CNI lets go, the namespace is unmounted, its file stays"
key=$(field plain .networkSettings.SandboxKey)
podwalk stop plain both web late >/dev/null
show podwalk ps -a
check "the file is there" test -f "$key"
check "nothing is mounted on it" not findmnt "$(readlink -f "$key")"

tell "Remove: the file goes too, and nothing is left"
podwalk rm plain both web late >/dev/null
kill "$daemon"; wait "$daemon"
check "no namespace is pinned" sh -c '[ -z "$(findmnt -nt nsfs)" ]'
check "no namespace file is left" nothing_in /run/netns
check "no bundle is left" nothing_in /run/podwalk/bundles
for network in blue amber; do
	check "no address of $network is taken" \
		sh -c "! ls /var/lib/cni/networks/$network | grep -vE '^(lock|last_reserved_ip)'"
done
no_veth() { [ -z "$(ip -br link show type veth)" ]; }
# The kernel takes a namespace's interfaces down on its own time.
for _ in $(seq 300); do no_veth && break; read -rt 0.1 <> <(:) || true; done
check "no veth is left" no_veth
check "no rule of a host port is left" sh -c "! iptables-save -t nat | grep -q CNI-DN-"
check "no sandbox process is left" not sandboxes
check "no cgroup is left" \
	sh -c "[ -z \"\$(find /sys/fs/cgroup -type d -name '$group*')\" ]"
printf '\n%sAll %d checks held.%s\n' "$bold" "$checks" "$plain"
