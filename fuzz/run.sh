#!/bin/bash
# Runs fuzz targets that are built, as many at a time as there are processors, each for a while; a
# line for each when it ends. `make fuzz` calls it.
#
#   run.sh DIRECTORY SECONDS SEED TARGET...
#
# New inputs are kept in FUZZ_CORPUS, or in corpus/ here. The same program draws the same inputs from
# the same seed and the same corpus.
#
# Exit 1, with the end of its log and the path of the input, when one of them failed.
set -euo pipefail

programs=$(realpath "$1") seconds=$2 seed=$3
shift 3
cd "$(dirname "$0")"
corpus=${FUZZ_CORPUS:-corpus}

# One input may not ask for more than this at once, nor all together hold more, MiB. The sanitizer
# keeps what was freed for a while, which counts.
at_once=16 altogether=768
export ASAN_OPTIONS=detect_odr_violation=0:quarantine_size_mb=32

one() {
	local target=$1 log
	log=$(mktemp)
	mkdir -p "$corpus/$target" "artifacts/$target"
	if "$programs/$target" "$corpus/$target" "seeds/$target" \
		-seed="$seed" -max_total_time="$seconds" -timeout=30 -malloc_limit_mb=$at_once -rss_limit_mb=$altogether \
		-artifact_prefix="artifacts/$target/" -print_final_stats=1 -verbosity=0 >"$log" 2>&1; then
		awk -v target="$target" '
			/^stat::number_of_executed_units/ { executions = $2 }
			/^stat::new_units_added/ { inputs = $2 }
			/^stat::peak_rss_mb/ { peak = $2 }
			END { printf "fuzz %s: %d executions, %d new inputs, %d MiB\n", target, executions, inputs, peak }
		' "$log"
		rm -f "$log"
	else
		{
			echo "fuzz $target: FAILED, seed $seed"
			tail -n 40 "$log"
			echo "the input is in fuzz/artifacts/$target: mend the reader, and make it a seed"
		} >&2
		rm -f "$log"
		return 1
	fi
}

export -f one
export programs seconds seed corpus at_once altogether
echo "fuzz: seed $seed"
printf '%s\n' "$@" | xargs -P "$(nproc)" -I {} bash -c 'set -euo pipefail; one "$1"' one {} || exit 1
