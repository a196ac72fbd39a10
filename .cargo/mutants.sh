#!/bin/bash
# Mutants in rounds: first the quick tests, with few drawn cases; for what they let live of the
# engine, a part of the proof; for what is then left, all tests of the crate. `make mutants` calls
# it; arguments choose the mutants of all rounds, for example --re crates/store/src/format.
# MUTANTS_JOBS says how many are tried at once.
#
# What came of each is kept in .cargo/mutants.tried: the hash of the mutated file, what came of it, the
# mutant's name. One that was caught, or does not compile, is not tried again as long as its file is
# what it was. Delete lines to have them tried again.
#
# Exit 1 when fewer than 95 of 100 viable mutants are caught, or when one survives that
# docs/mutants.md does not name.
set -euo pipefail
cd "$(dirname "$0")/.."

output=${CARGO_TARGET_DIR:-target}/mutants
# Each job has a copy of the tree and a target directory of its own.
unset CARGO_TARGET_DIR
# Tests of a mutated crate are run once: neither line tables nor backtraces pay.
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0 RUST_BACKTRACE=0 INSTA_UPDATE=no

tried=.cargo/mutants.tried
touch "$tried"
hashes() { git ls-files -co --exclude-standard crates/{engine,store}/src | grep '\.rs$' | xargs sha256sum; }

# What is known of files that are what they were, as cargo-mutants looks for it.
rm -rf "$output"
mkdir -p "$output/mutants.out"
hashes | awk -F '\t' -v output="$output" '
	NR == FNR { split($0, part, "  "); hash[part[2]] = substr(part[1], 1, 12); next }
	{ split($3, part, ":") }
	hash[part[1]] == $1 {
		print $3 >(output "/" $2)
		if ($2 != "missed") print $3 >(output "/mutants.out/" ($2 == "unviable" ? $2 : "caught") ".txt")
	}' - "$tried"

# Writes down what is known now. Who was missed by one round may be caught by the next.
keep() {
	hashes | awk -F '\t' '
		FILENAME == "-" { split($0, part, "  "); hash[part[2]] = substr(part[1], 1, 12); next }
		{ split($0, part, ":"); kind = FILENAME; sub(".*/", "", kind); known[$0] = hash[part[1]] "\t" kind }
		END { for (name in known) print known[name] "\t" name }
	' - "$output"/{missed,unviable,timeout,caught} | sort -t "$(printf '\t')" -k 3 >"$tried.new"
	mv "$tried.new" "$tried"
}
touch "$output"/{missed,unviable,timeout,caught}

# What came of a round, also of one that is interrupted.
collect() {
	local kind
	for kind in caught timeout missed unviable; do
		cat "$output/mutants.out/$kind.txt" >>"$output/$kind" 2>/dev/null || true
	done
	# One that never ends is caught: to wait for it again would take hours.
	cat "$output/mutants.out/timeout.txt" >>"$output/mutants.out/caught.txt" 2>/dev/null || true
	keep
}
trap collect EXIT

round() {
	local name=$1 status=0
	shift
	echo "mutants: $name"
	cargo mutants --iterate --output "$output" --colors never --jobs "${MUTANTS_JOBS:-$(nproc)}" "$@" || status=$?
	# 2 and 3 say that some survived or ran out of time.
	case $status in 0 | 2 | 3) ;; *) exit "$status" ;; esac
	collect
}

# Some tests wait for a thread to wake up: they can do so side by side.
export RUST_TEST_THREADS=16
engine=(--package podwalk-engine) store=(--package podwalk-store)
PROPTEST_CASES=24 round "the store's unit tests" "$@" "${store[@]}" --cargo-arg=--lib
PROPTEST_CASES=24 round "the engine's unit tests and walks" "$@" "${engine[@]}" \
	--cargo-arg=--lib --cargo-arg=--test=simulated
# After the second -- are the names of tests, a part of the proof that takes a minute.
PODWALK_PROOF_RUNS=6000 round "a part of the proof" "$@" "${engine[@]}" --cargo-arg=--test=proof -- -- one_crash drawn flaws
round "all tests of the crate" "$@" --cargo-arg=--lib --cargo-arg=--tests

# Without lines and columns, which move.
names() { cat "$@" | sed -E 's/^([^:]+):[0-9]+:[0-9]+:/\1:/' | sort -u; }
all() { cat "$@" 2>/dev/null | sort -u; }
all "$output"/{caught,timeout} >"$output/all-caught"
all "$output"/missed | comm -23 - "$output/all-caught" >"$output/survivors"

strange=$(names "$output/survivors" | while read -r name; do
	grep -qF -- "$name" docs/mutants.md || echo "$name"
done)
status=0
if [ -n "$strange" ]; then
	printf 'docs/mutants.md does not name these survivors:\n%s\n' "$strange" >&2
	status=1
fi
caught=$(wc -l <"$output/all-caught") survive=$(wc -l <"$output/survivors")
awk -v caught="$caught" -v survive="$survive" 'BEGIN {
	viable = caught + survive
	printf "mutants: %d viable, %d caught (%.1f %%)\n", viable, caught, viable ? 100 * caught / viable : 0
	exit viable == 0 || caught * 100 < viable * 95
}' || status=1
exit "$status"
