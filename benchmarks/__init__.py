"""The side-by-side benchmark: aserver and its peers, one case at a time, on one machine.

Run it with ``python -m benchmarks``; how to read its figures and how to add a server or a case is
in ``docs/reference/benchmarks.md``. Nothing in here is imported by ``aserver``, and nothing in
here gates a change: timings inform, the call-budget test decides.

Imports point one way::

    cases <- servers <- environments, certificates, process, client, load <- measure <- runner
    load <- wrk_load, h2_load; client <- httpx_client (TLS and HTTP/2) <- measure
    ws_frames <- ws_client, ws_load (the same pair for WebSockets) <- measure
    cases <- tools (what the system must have) <- runner
    results <- text_report, chart <- __main__
"""
