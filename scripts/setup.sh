#!/usr/bin/env bash
# Installs the Debian 12 packages that llmcf builds, runs and is tested with.
# Idempotent: what is installed already is left alone. Works as root or with sudo;
# on any other system it prints the package list and stops, changing nothing.
set -euo pipefail

packages=(
  # toolchain
  g++ cmake ninja-build ccache pkg-config git clang-format clang-tidy
  # numerics: libtorch's own threads are OpenMP's, so the OpenMP OpenBLAS is the one that fits
  libtorch-dev libopenblas-openmp-dev libopenblas0-openmp libeigen3-dev libhwy-dev libfaiss-dev
  # files, formats, text
  libyaml-cpp-dev nlohmann-json3-dev libsimdjson-dev zlib1g-dev libzstd-dev libxxhash-dev
  libsqlite3-dev libicu-dev libprotobuf-dev
  # its trainer makes vocabularies for new language models
  sentencepiece
  # program
  libcli11-dev libspdlog-dev libfmt-dev libcurl4-openssl-dev libboost-dev libssl-dev prometheus-cpp-dev libhiredis-dev libpq-dev
  # program, optional: gRPC
  libgrpc++-dev protobuf-compiler protobuf-compiler-grpc
  # report: the charts' library, embedded into its page
  libjs-chart.js
  # tests and benchmarks (python3 runs the scripted HTTP server that the tests talk to, openssl makes certificates, curl and wrk ask)
  libgtest-dev libgmock-dev libbenchmark-dev curl redis-server postgresql wrk python3 python3-grpcio openssl time
)

say() { printf 'setup: %s\n' "$*"; }

fail() {
  printf 'setup: %s\n' "$*" >&2
  printf 'setup: llmcf needs these Debian 12 packages (or their equivalents):\n  %s\n' "${packages[*]}" >&2
  exit 1
}

[ "${1:-}" != "--list" ] || { printf '%s\n' "${packages[@]}"; exit 0; }

command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1 \
  || fail "this is not a Debian system: apt-get was not found"

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done

if [ "${#missing[@]}" -eq 0 ]; then
  say "all ${#packages[@]} packages are installed"
else
  . /etc/os-release 2>/dev/null || true
  [ "${ID:-}" = debian ] && [ "${VERSION_ID:-}" = 12 ] \
    || say "warning: written for Debian 12, this is ${PRETTY_NAME:-unknown}; trying anyway"
  run=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || fail "not root and no sudo; run: apt-get install ${missing[*]}"
    run=(sudo)
  fi
  say "installing ${#missing[@]} of ${#packages[@]} packages: ${missing[*]}"
  "${run[@]}" apt-get update -qq || fail "apt-get update failed"
  "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null || fail "apt-get install failed for: ${missing[*]}"
  say "done"
fi
