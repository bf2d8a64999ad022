#!/usr/bin/env bash
# Runs every benchmark and prints one line per figure: name, value, unit, limit (tab-separated).
# Usage: scripts/bench.sh [prefix], e.g. scripts/bench.sh train.deepfm
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh >&2
./scripts/build.sh >&2
prefix=${1:-}
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-1000}  # as llmcf itself does: short spins, for shared cores
echo "bench: $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs)" >&2
for program in build/release/bench/bench_*; do
  [ -x "$program" ] || continue
  "$program" "$prefix"
done
