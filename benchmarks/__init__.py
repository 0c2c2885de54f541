"""The side-by-side benchmark: aserver and its peers, one case at a time, on one machine.

Run it with ``python -m benchmarks``; how to read its figures and how to add a server or a case is
in ``docs/reference/benchmarks.md``. Nothing in here is imported by ``aserver``, and nothing in
here gates a change: timings inform, the call-budget test decides.

Imports point one way::

    tables (cases, servers) <- environments, processes, client, load <- measure <- runner
    ws_frames <- ws_client, ws_load (the same pair for WebSockets) <- measure
    results <- text_report, chart <- __main__
"""
