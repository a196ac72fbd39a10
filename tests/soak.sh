#!/bin/bash
# What `make test` proves, for as long as wanted: two lanes side by side. One draws schedules on the
# simulated machine. The other crashes the real daemon at every moment of every table and fills a
# bridge, once, and then kills it at random moments, reboots its machine and cuts its power. Each
# goes on with the next seed until its goal is reached or SOAK_MINUTES are over. A failure ends both;
# its seed is printed.
#
#   SOAK_MINUTES    how long; none for until the goals are reached
#   SOAK_SCHEDULES  how many schedules are drawn
#   SOAK_ROUNDS     how many rounds of chaos there are
#   SOAK_SEED       where the seeds begin
set -euo pipefail
cd "$(dirname "$0")/.."

schedules=${SOAK_SCHEDULES:-10000000}
rounds=${SOAK_ROUNDS:-2000}
first_seed=${SOAK_SEED:-$(date +%s)}
minutes=${SOAK_MINUTES:-0}
until=$((minutes > 0 ? $(date +%s) + 60 * minutes : 0))
log=$(mktemp -d)
export PODWALK_COUNTS=$log/counts
: >"$PODWALK_COUNTS"

counted() { awk -v name="$1" '$1 == name { sum += $2 } END { print sum + 0 }' "$PODWALK_COUNTS"; }
goes_on() {
	[ ! -e "$log/failed" ] && { [ "$until" -eq 0 ] || [ "$(date +%s)" -lt "$until" ]; }
}

# One turn of a lane, which must count something; its output is read only when it fails.
turn() {
	local name=$1 count=$2 before
	shift 2
	before=$(counted "$count")
	if ! cargo test --locked --quiet "$@" >"$log/$name" 2>&1 || [ "$(counted "$count")" -eq "$before" ]; then
		touch "$log/failed"
		cat "$log/$name" >&2
		echo "soak: $name failed or counted nothing, PODWALK_SEED=${PODWALK_SEED:-}" >&2
		return 1
	fi
}

drawn() {
	local seed=$first_seed
	export PODWALK_PROOF_RUNS=100000
	while goes_on && [ "$(counted schedules)" -lt "$schedules" ]; do
		PODWALK_SEED=$seed turn drawn schedules --release -p podwalk-engine --test proof -- sampled || return 1
		seed=$((seed + 1))
	done
}

killed() {
	local seed=$first_seed
	export PODWALK_CHAOS_ROUNDS=40 PODWALK_REBOOT_ROUNDS=10 PODWALK_POWER_IMAGES=200 PODWALK_DISK_COPIES=10
	PODWALK_CRASH_ALL=1 turn tables crash-moments -p podwalk-tests --test crash || return 1
	while goes_on && [ "$(counted chaos-rounds)" -lt "$rounds" ]; do
		PODWALK_SEED=$seed turn chaos chaos-rounds -p podwalk-tests --test chaos || return 1
		PODWALK_SEED=$seed turn power crash-images -p podwalk-tests --test power || return 1
		seed=$((seed + 1))
	done
	# Minutes of one bridge with as many ports as it has: last, since nothing of it is drawn.
	! goes_on || PODWALK_FULL_BRIDGE=1 cargo test --locked --quiet -p podwalk-tests --test scenarios scenario_30
}

echo "soak: seeds from $first_seed"
# A process group of its own, so that an interrupt ends all of it.
set -m
drawn &
lane=$!
set +m
trap 'kill -- "-$lane" 2>/dev/null || true; wait "$lane" 2>/dev/null || true; rm -rf "$log"' EXIT
trap 'exit 130' INT TERM
failed=0
killed || failed=1
wait "$lane" || failed=1
least=(schedules=1 crash-moments=1)
[ "$minutes" -gt 0 ] || least=(schedules="$schedules" crash-moments=1 chaos-rounds="$rounds" crash-images=500)
tests/counts.sh "$PODWALK_COUNTS" "${least[@]}" || failed=1
exit "$failed"
