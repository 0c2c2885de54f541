-- No two requests in a row are alike: each has an id of its own, as behind a tracing proxy.
-- They are made beforehand, so that the generator stays faster than the servers.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "report.lua")

local requests = {}
local turn = 0

function init(args)
  for i = 1, 20000 do
    wrk.headers["X-Request-Id"] = string.format("%032x", i * 2654435761)
    requests[i] = wrk.format()
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
