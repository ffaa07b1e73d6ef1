-- For wrk, from the folder load/: posts data.json, as ab does with -p.
local file = assert(io.open("data.json"), "data.json is not here: run wrk from the folder load/")
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
file:close()
