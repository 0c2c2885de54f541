"""The end of what is in progress when a server stops: in order, and in bounded time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .context import Context
from .logs import server_log
from .worker_seams import Connected

# Once there is no listener: for requests that are on their way.
_PATIENCE_SECONDS = 0.5
# For connections that have been closed to be gone.
_MOMENT_SECONDS = 0.05
# After the grace time: for applications to end by themselves, and cancelled, to clean up.
_LEAVE_SECONDS = 0.1
_CANCEL_SECONDS = 2.0


async def end_all(context: Context, grace: float, hurry: asyncio.Event) -> None:
    """Let what is in progress end, in the grace time (seconds); then end it, in a little more.

    Args:
        context: What the connections and calls are in; it has no newcomers any more.
        grace: How long to wait.
        hurry: Set when nobody wants to wait.
    """
    if not await _drain(context, grace, hurry):
        await _cancel(context)


def cut_off(context: Context) -> None:
    """Close every connection now; with a reset, so that nothing cut looks complete."""
    context.admission.lift()
    for connection in list(context.connections):
        with _for_itself(connection):
            connection.abort(reset=True)


async def _drain(context: Context, grace: float, hurry: asyncio.Event) -> bool:
    """Returns whether everything has ended by itself."""
    patience = min(grace, _PATIENCE_SECONDS)
    _drain_all(context, patient=patience > 0)
    if await _settle(context, patience, hurry):
        return True
    _drain_all(context, patient=False)
    if await _settle(context, _MOMENT_SECONDS, hurry):
        return True
    server_log.info(
        "Stopping; requests in progress: %d, connections: %d, waiting %g seconds for them at "
        "most (a second signal ends the wait)",
        len(context.cycles),
        len(context.connections),
        grace,
    )
    return await _settle(context, grace - patience, hurry)


def _drain_all(context: Context, *, patient: bool) -> None:
    """Ask each connection to come to an end; see `Connected.drain`."""
    for connection in list(context.connections):
        with _for_itself(connection):
            connection.drain(patient=patient)


@contextmanager
def _for_itself(connection: Connected) -> Iterator[None]:
    """What is wrong with one is no matter of the others', and nobody waits for it."""
    try:
        yield
    except Exception as error:
        server_log.error("Internal error, while stopping %r", connection, exc_info=error)
        with suppress(Exception):
            connection.abort(reset=True)


async def _cancel(context: Context) -> None:
    """End every call of the application, and wait for that, but not long.

    Django cleans up behind a client that has left. Cancelled, it lets the view go on alone.
    """
    if not context.cycles:
        return
    server_log.warning("Ending requests that are still in progress: %d", len(context.cycles))
    for cycle in list(context.cycles):
        cycle.dismiss()
    await _settle(context, _LEAVE_SECONDS)
    for cycle in list(context.cycles):
        cycle.cancel()
    await _settle(context, _CANCEL_SECONDS)
    if context.cycles:
        server_log.error("Requests that ignore their cancellation: %d", len(context.cycles))


async def _settle(context: Context, timeout: float, hurry: asyncio.Event | None = None) -> bool:
    """Wait until nothing is in progress; False after `timeout`, or when asked to hurry."""
    settled = asyncio.ensure_future(context.settled())
    hurried = asyncio.ensure_future((hurry or asyncio.Event()).wait())
    try:
        await asyncio.wait({settled, hurried}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        return settled.done()
    finally:
        settled.cancel()
        hurried.cancel()
