-- Posts the body that is its argument, and tells latencies that a program can read.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

function init(arguments)
  wrk.body = arguments[1]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"answers":%d,"seconds":%f,"p50":%d,"p99":%d,"p999":%d,"errors":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
