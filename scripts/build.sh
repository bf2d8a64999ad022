#!/usr/bin/env bash
# Configures and builds the `release` preset. Usage: scripts/build.sh [target...]; without targets, everything.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
cmake --preset release >build-configure.log 2>&1 || { cat build-configure.log >&2; exit 1; }
rm -f build-configure.log
targets=()
[ "$#" -eq 0 ] || targets=(--target "$@")
cmake --build --preset release -j "$jobs" "${targets[@]}"
