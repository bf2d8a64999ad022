-- Requests of wrk: ranks random candidates for random users. The environment says from where and how many:
-- RANK_ITEMS, RANK_USERS (files with one name per line), RANK_CANDIDATES (1000), and RANK_DELAY: milliseconds
-- on average that a connection waits before a request (0: the next one follows the answer).
local function lines(file)
  local list = {}
  for line in io.lines(file) do list[#list + 1] = line end
  return list
end

local items, users = lines(os.getenv("RANK_ITEMS")), lines(os.getenv("RANK_USERS"))
local candidates = tonumber(os.getenv("RANK_CANDIDATES") or 1000)
local wait = tonumber(os.getenv("RANK_DELAY") or 0)

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

function init() math.randomseed(os.time()) end

function request()
  local names = {}
  for i = 1, candidates do names[i] = '"' .. items[math.random(#items)] .. '"' end
  return wrk.format(nil, "/v1/rank", nil,
    '{"user":"' .. users[math.random(#users)] .. '","k":20,"candidates":[' .. table.concat(names, ",") .. ']}')
end

-- Arrivals are not in step with each other: waits are exponential.
if wait > 0 then
  function delay() return math.floor(0.5 - wait * math.log(1 - math.random())) end
end

function done(summary, latency, requests)
  io.write(string.format("rank\t%d requests\t%.1f per second\tp50 %.2f ms\tp99 %.2f ms\tnot 2xx: %d\tsocket errors: %d\n",
    summary.requests, summary.requests / (summary.duration / 1e6), latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
