-- POST 1 MiB; cases.py has the same body for the probe.

dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "post_1k.lua")

wrk.body = string.rep("x", 1048576)
