-- One line that a program can read, after wrk's own text: its text rounds, and hides what is zero.

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "BENCHMARK requests=%d microseconds=%d bytes=%d status=%d connect=%d read=%d write=%d timeout=%d p50=%d p99=%d\n",
    summary.requests, summary.duration, summary.bytes, errors.status, errors.connect,
    errors.read, errors.write, errors.timeout, latency:percentile(50), latency:percentile(99)))
end
