-- Sends the requests of a flood of the management port, in turn. Arguments: a valid value of
-- `Authorization`, then `+/path` for each request with this value and `-/path` for each request
-- with a wrong one.

local requests, next_one = {}, 0

function init(args)
   local fields = {["+"] = {["Authorization"] = args[1]}, ["-"] = {["Authorization"] = "Basic d3Jvbmc6d3Jvbmc="}}
   for n = 2, #args do
      requests[n - 1] = wrk.format("GET", args[n]:sub(2), fields[args[n]:sub(1, 1)])
   end
end

function request()
   next_one = next_one % #requests + 1
   return requests[next_one]
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format('RESULT {"requests": %d, "refused": %d, "errors": %d}\n',
      summary.requests, e.status, e.connect + e.read + e.write + e.timeout))
end
