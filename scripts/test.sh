#!/usr/bin/env bash
# Sets up, builds and runs every test: the release build, then the torch-free rooms under the address and
# undefined-behaviour sanitizers. Usage: scripts/test.sh [ctest arguments], e.g. scripts/test.sh -L data
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
./scripts/check_format.sh
./scripts/build.sh
if [ "$#" -gt 0 ]; then
  exec ctest --preset release "$@"
fi
cmake --preset asan >/dev/null
cmake --build --preset asan -j "$(nproc)"
ctest --preset asan -j "$(nproc)"
ctest --preset release
