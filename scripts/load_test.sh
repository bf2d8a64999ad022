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

cat > "$directory/rank.lua" <<LUA
local function lines(file)
  local list = {}
  for line in io.lines(file) do list[#list + 1] = line end
  return list
end
local items, users = lines("$items"), lines("$users")
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function init() math.randomseed(os.time()) end
function request()
  local names = {}
  for i = 1, $candidates do names[i] = '"' .. items[math.random(#items)] .. '"' end
  return wrk.format(nil, "/v1/rank", nil,
    '{"user":"' .. users[math.random(#users)] .. '","k":20,"candidates":[' .. table.concat(names, ",") .. ']}')
end
function done(summary, latency, requests)
  io.write(string.format("rank\t%d requests\t%.1f per second\tp50 %.2f ms\tp99 %.2f ms\tnot 2xx: %d\tsocket errors: %d\n",
    summary.requests, summary.requests / (summary.duration / 1e6), latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
LUA

# One request of 100 events, ten times a second: about 1,000 events per second.
head -n 100 "$items" | awk 'BEGIN {printf "{\"events\":["} {printf "%s{\"user\":\"load-%d\",\"item\":\"%s\"}", NR > 1 ? "," : "", NR, $1} END {print "]}"}' \
  > "$directory/events.json"
(
  while true; do
    curl -s -o /dev/null "$url/v1/events" --data "@$directory/events.json" || true
    sleep 0.09
  done
) &
writer=$!

wrk --threads 1 --connections "$connections" --duration "${seconds}s" --timeout 10s --script "$directory/rank.lua" "$url"
curl -s "$url/metrics" | grep -E '^llmcf_(requests|events|fallbacks)_total' || true
pid=$(pgrep -f "llmcf.* serve " | head -1 || true)
[ -z "$pid" ] || grep VmRSS "/proc/$pid/status"
