#!/bin/bash
# The sums of what a run has counted, one line each: counts.sh FILE [REQUIRED=AT_LEAST...]. Fails
# when something leaked or was lost, or when a required count is not reached.
set -euo pipefail
file=$1
shift

sum() { awk -v name="$1" '$1 == name { sum += $2 } END { print sum + 0 }' "$file"; }

status=0
for required in "$@"; do
	name=${required%=*} least=${required#*=}
	if [ "$(sum "$name")" -lt "$least" ]; then
		echo "only $(sum "$name") $name, and $least are required" >&2
		status=1
	fi
done
awk '{ sum[$1] += $2 } END { for (name in sum) if (name != "leaks" && name != "lost")
	printf "%-16s %d\n", name, sum[name] }' "$file" | sort
for name in leaks lost; do
	printf '%-16s %d\n' "$name" "$(sum "$name")"
	[ "$(sum "$name")" -eq 0 ] || status=1
done
exit "$status"
