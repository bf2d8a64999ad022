#!/usr/bin/env bash
# Loads a running service with wrk: ranks random candidates for random users, beside a stream of events.
#   scripts/load_test.sh URL ITEMS USERS [SECONDS] [CONNECTIONS] [CANDIDATES]
# ITEMS and USERS are files with one name per line. Prints wrk's latencies and throughput; then requests by status and the
# service's resident memory where it is on this machine.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,5p' "$0" | cut -c3-; exit 2; }
url=$1 items=$2 users=$3 seconds=${4:-30} connections=${5:-4} candidates=${6:-1000}
directory=$(mktemp -d)
trap 'rm -rf "$directory"; [ -z "${writer:-}" ] || kill "$writer" 2>/dev/null || true' EXIT

# One request of 100 events, ten times a second: about 1,000 events per second.
head -n 100 "$items" | awk 'BEGIN {printf "{\"events\":["} {printf "%s{\"user\":\"load-%d\",\"item\":\"%s\"}", (NR > 1 ? "," : ""), NR, $1} END {print "]}"}' \
  > "$directory/events.json"
(
  while true; do
    curl -s -o /dev/null "$url/v1/events" --data "@$directory/events.json" || true
    sleep 0.09
  done
) &
writer=$!

RANK_ITEMS=$items RANK_USERS=$users RANK_CANDIDATES=$candidates \
  wrk --threads 1 --connections "$connections" --duration "${seconds}s" --timeout 10s --script "$(dirname "$0")/rank.lua" "$url"
curl -s "$url/metrics" | grep -E '^llmcf_(requests|events|fallbacks)_total' || true
pid=$(pgrep -f "llmcf.* serve " | head -1 || true)
[ -z "$pid" ] || grep VmRSS "/proc/$pid/status"
