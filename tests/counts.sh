#!/bin/bash
# The sums of what a run has counted, one line each: counts.sh FILE [NAME=AT_LEAST...]. Fails when
# something leaked or was lost, or when less was counted than is required. Lines of the form
# `KIND/WHAT NUMBER` are counted as one each per different WHAT.
set -euo pipefail
file=$1
shift

sums=$(awk '
	split($1, parts, "/") == 2 { if (!seen[$1]++) sum[parts[1] "s"]++; next }
	{ sum[$1] += $2 }
	END { for (name in sum) print name, sum[name] }
' "$file" | sort)

sum() { awk -v name="$1" '$1 == name { sum = $2 } END { print sum + 0 }' <<<"$sums"; }

status=0
for required in "$@"; do
	name=${required%=*} least=${required#*=}
	if [ "$(sum "$name")" -lt "$least" ]; then
		echo "only $(sum "$name") $name, and $least are required" >&2
		status=1
	fi
done
awk '$1 != "leaks" && $1 != "lost" { printf "%-20s %d\n", $1, $2 }' <<<"$sums"
for name in leaks lost; do
	printf '%-20s %d\n' "$name" "$(sum "$name")"
	[ "$(sum "$name")" -eq 0 ] || status=1
done
exit "$status"
