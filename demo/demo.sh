#!/usr/bin/env bash
# The main job, told as a story: three pods with real networks, a crash in the
# middle of a fourth one's start, and in the end nothing is left.
#
# Everything happens in a test node: mount, network, pid, IPC and UTS namespaces
# of its own. Exit 0 only if every check held.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=${CARGO_TARGET_DIR:-$here/../target}/debug

if [ "${1:-}" != inside ]; then
	[ "$(id -u)" = 0 ] || { echo "run this as root: it makes namespaces" >&2; exit 1; }
	[ -x "$bin/podwalk" ] || { echo "build first: cargo build --workspace --bins" >&2; exit 1; }
	exec unshare --mount --net --pid --ipc --uts --fork --kill-child "$0" inside "$bin"
fi
bin=$2
PATH=$bin:$PATH

. "$here/node.sh"
. "$here/story.sh"
