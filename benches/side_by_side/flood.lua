-- What somebody who floods the management port sends, in turn. Argument: the value of an Authorization field that is right.

local requests, next_one = {}, 0

function init(args)
   local right, wrong = {["Authorization"] = args[1]}, {["Authorization"] = "Basic d3Jvbmc6d3Jvbmc="}
   requests = {
      wrk.format("GET", "/v1/connections?page_size=1000&filter=display_name:%22item%22%20AND%20NOT%20connection_id=%22none%22", right),
      wrk.format("GET", "/metrics", {}),
      wrk.format("GET", "/v1/connections?page_size=1000&order_by=display_name%20desc", right),
      wrk.format("GET", "/v1/connections", wrong),
      wrk.format("GET", "/v1/connections/other-1", wrong),
      wrk.format("GET", "/", wrong),
   }
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
