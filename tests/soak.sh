#!/bin/bash
# What `make test` proves, for as long as wanted: two lanes side by side, one that draws schedules on
# the simulated machine, one that kills the real daemon. Each goes on with the next seed until its
# goal is reached or SOAK_MINUTES are over, and stops at the first failure, whose seed is printed.
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
trap 'rm -rf "$log"' EXIT

counted() { awk -v name="$1" '$1 == name { sum += $2 } END { print sum + 0 }' "$PODWALK_COUNTS"; }
in_time() { [ "$until" -eq 0 ] || [ "$(date +%s)" -lt "$until" ]; }

# Runs a command whose output is only worth reading when it fails.
quietly() {
	local name=$1
	shift
	if ! "$@" >"$log/$name" 2>&1; then
		echo "soak: $name failed, PODWALK_SEED=${PODWALK_SEED:-}"
		cat "$log/$name"
		return 1
	fi
}

drawn() {
	local seed=$first_seed
	while in_time && [ "$(counted schedules)" -lt "$schedules" ]; do
		PODWALK_SEED=$seed PODWALK_PROOF_RUNS=100000 quietly drawn \
			cargo test --release --locked --quiet -p podwalk-engine --test proof -- sampled
		seed=$((seed + 1))
	done
}

killed() {
	local seed=$first_seed
	while in_time && [ "$(counted chaos-rounds)" -lt "$rounds" ]; do
		PODWALK_SEED=$seed PODWALK_CHAOS_ROUNDS=40 PODWALK_REBOOT_ROUNDS=10 quietly killed \
			cargo test --locked --quiet -p podwalk-tests --test chaos
		PODWALK_SEED=$seed PODWALK_POWER_IMAGES=100 quietly power \
			cargo test --locked --quiet -p podwalk-tests --test power
		seed=$((seed + 1))
	done
}

echo "soak: seeds from $first_seed"
drawn &
lane=$!
failed=0
killed || failed=1
wait "$lane" || failed=1
tests/counts.sh "$PODWALK_COUNTS"
exit "$failed"
