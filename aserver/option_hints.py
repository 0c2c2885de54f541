"""What to say of a flag that is none of ours: how others spell an option, and how it is here."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

# Flags of Uvicorn, Hypercorn, gunicorn and Granian that people type without a thought.
_HERE = {
    "--host": "--bind",
    "--uds": "--unix-socket",
    "--ssl-certificate": "--certfile",
    "--log-level": "--verbosity",
    "--timeout-keep-alive": "--keep-alive",
    "--timeout-graceful-shutdown": "--graceful-timeout",
    "--limit-concurrency": "--max-concurrency",
    "--ws-ping-interval": "--ping-interval",
    "--ws-ping-timeout": "--ping-timeout",
    "--ws-max-size": "--websocket-max-message-size",
}
_ONE_PROCESS = "one aserver is one process, start several on one socket (--fd)"
_NOT_HERE = {
    "-w": _ONE_PROCESS,
    "--workers": _ONE_PROCESS,
    "--reload": "nothing is reloaded here but by manage.py runserver",
    "-k": "with gunicorn, it is gunicorn -k aserver.gunicorn.Worker",
    "--worker-class": "with gunicorn, it is gunicorn -k aserver.gunicorn.Worker",
}


def hint(arguments: Sequence[str], flags: Iterable[str]) -> str:
    """What is wrong with arguments that the parser could not place, and what may be meant.

    Args:
        arguments: These, in their order.
        flags: Those that there are.
    """
    flag = next((each for each in arguments if each.startswith("-")), None)
    if flag is None:
        return f"unrecognized arguments: {' '.join(arguments)}"
    name = flag.partition("=")[0] if flag.startswith("--") else flag[:2]
    if name in _NOT_HERE:
        return f"there is no option {name}: {_NOT_HERE[name]}"
    near = [_HERE[name]] if name in _HERE else get_close_matches(name, flags, 1, 0.75)
    return f"there is no option {name}" + (f"; is it {near[0]}?" if near else "")
