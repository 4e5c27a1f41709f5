-- The request that wrk repeats, and its result as one line of JSON. First argument: the number of
-- bytes to POST, or 0 for GET.

function init(args)
   local size = tonumber(args[1]) or 0
   if size > 0 then
      wrk.method = "POST"
      wrk.body = string.rep("x", size)
      wrk.headers["Content-Type"] = "application/octet-stream"
   end
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      'RESULT {"requests": %d, "errors": %d, "seconds": %f, "p99_us": %d}\n',
      summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
      summary.duration / 1e6, latency:percentile(99.0)))
end
