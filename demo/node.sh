# The node: private mounts, cgroups as the host has them, a loopback, a network.
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/netns /etc/cni /var/lib/cni /var/lib/podwalk
for directory in /etc/cni /var/lib/cni /var/lib/podwalk; do
	mount -t tmpfs tmpfs "$directory"
done
v1=$(awk '$3 == "cgroup" { n = split($4, o, ","); for (i = 1; i <= n; i++)
	if (o[i] ~ /^(cpu|cpuacct|cpuset|memory|pids|devices|freezer|blkio)$/) print o[i] }' \
	/proc/mounts | sort -u)
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /sys/fs/cgroup
if [ -n "$v1" ]; then
	for controller in $v1; do
		mkdir "/sys/fs/cgroup/$controller"
		mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
	done
else
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
ip link set lo up

mkdir -p /etc/cni/net.d
cat > /etc/cni/net.d/10-blue.conflist <<'CONFLIST'
{
  "cniVersion": "1.0.0",
  "name": "blue",
  "plugins": [
    {
      "type": "bridge", "bridge": "blue0", "isGateway": true,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
CONFLIST
cat > /etc/cni/net.d/20-amber.conflist <<'CONFLIST'
{
  "cniVersion": "1.0.0",
  "name": "amber",
  "plugins": [
    {
      "type": "bridge", "bridge": "amber0",
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]]}
    }
  ]
}
CONFLIST
