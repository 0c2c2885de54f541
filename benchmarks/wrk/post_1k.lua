-- POST 1 KiB: wrk takes a method and a body from a script only. cases.py has the same body for the probe.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "report.lua")

wrk.method = "POST"
wrk.body = string.rep("x", 1024)
wrk.headers["Content-Type"] = "application/octet-stream"
