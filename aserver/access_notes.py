"""What the access log notes of a response or a WebSocket, and when.

Notes are taken inside of an application's `send()`, so as little as possible happens there. The
function that takes them is compiled for its format: one `append` of one tuple. A WebSocket has
functions of its own, that of a response knows nothing of them. Their notes have the same shape: so
one list keeps the order of both, and the loop that makes lines need not tell them apart. What only
a WebSocket has is a constant in the other notes.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Protocol

from .seams import Head
from .types import Address, Request


class Exchange(Protocol):
    """One request and what came of it: what a line is made from, whatever the protocol.

    `received` and `sent` are bytes of the bodies, without framing. `began` is a reading of
    `access_format.clock`, and is there only if the format asks for it (`Format.timed`).
    """

    request: Request
    client: Address | None
    received: int
    sent: int
    began: float


class SocketExchange(Exchange, Protocol):
    """One WebSocket. `received` and `sent` are bytes of its messages.

    `closed_by` is "client", "application", "server" or "network": whoever ended it, or refused the
    handshake, or left in it. `close_code` is 1006 where there was none. Both are there at the end.
    """

    close_code: int
    closed_by: str
    messages_received: int
    messages_sent: int

    @property
    def accepted(self) -> bool:
        """Whether the handshake was."""


Note = tuple[Any, ...]
Turn = Callable[[], None]
Fail = Callable[[Exception], None]
Noting = tuple[list[Note], Container[int], Turn, Fail]  # what a `NewRecord` is called with
Record = Callable[[Exchange, Head], None]
NewRecord = Callable[[list[Note], Container[int], Turn, Fail], Record]


class SocketRecord(Protocol):
    """Takes a note of what happened to a WebSocket; Daphne's lines need no head for it."""

    def __call__(self, exchange: SocketExchange, head: Head | None = None, /) -> None: ...


NewSocketRecord = Callable[[list[Note], Container[int], Turn, Fail], SocketRecord]

# What is noted of a response, by the names that formats use: no more than references.
NOTED = {
    "client": "exchange.client",
    "method": "request.method",
    "raw_target": "request.target",
    "version": "request.http_version",
    "headers": "request.headers",
    "status": "head.status",
    "block": "head.block",
    "sent": "exchange.sent",
    "received": "exchange.received",
    "seconds": "clock() - exchange.began",
    "close_code": "'-'",
    "closed_by": "'-'",
    "messages_in": "'-'",
    "messages_out": "'-'",
    "ending": "None",  # or these four
}
_ENDING = {
    "close_code": "exchange.close_code",
    "closed_by": "exchange.closed_by",
    "messages_in": "exchange.messages_received",
    "messages_out": "exchange.messages_sent",
}


def _daphnes(word: str) -> dict[str, str]:
    """Daphne's lines have a word for the method, no query, and neither status nor length."""
    path = "request.target.partition(b'?')[0]"
    return {"method": repr(word), "raw_target": path, "status": "'-'", "sent": "0"}


# What is noted otherwise of a WebSocket: by event, by name.
EVENTS = {"ended": {**_ENDING, "ending": f"({', '.join(_ENDING.values())})"}}
DAPHNES_EVENTS = {
    "connecting": _daphnes("WSCONNECTING"),
    "connected": _daphnes("WSCONNECT"),
    "rejected": _daphnes("WSREJECT"),
    "disconnected": _daphnes("WSDISCONNECT"),
}


def record_source(name: str, values: Sequence[str], head: str = "head") -> list[str]:
    """The source of a function that makes one that notes these values."""
    return [
        f"def {name}(notes, lengths, turn, fail):",
        "    append = notes.append",
        f"    def record(exchange, {head}):",
        "        try:",
        "            if len(notes) in lengths:",
        "                turn()",
        "            request = exchange.request",
        f"            append({tuple_source(values)})",
        "        except Exception as error:",
        "            fail(error)",
        "    return record",
    ]


def tuple_source(items: Sequence[str]) -> str:
    return f"({''.join(f'{item}, ' for item in items)})"


class SocketLog:
    """The access log, as a WebSocket sees it. Nothing of it raises.

    Args:
        new_records: What makes the functions for each event that has a line: those of `EVENTS`, or
            of `DAPHNES_EVENTS`.
        noting: What these are made with.
        is_excluded: Whether the log leaves a target out.
        timed: Whether `record` needs `SocketExchange.began`.
    """

    __slots__ = ("_fail", "_is_excluded", "_records", "connected", "connecting", "record", "timed")

    connecting: Callable[[SocketExchange], None]
    connected: Callable[[SocketExchange], None]
    # Called at the end, whatever that is, with the head of the response: None for a client that
    # left before there was one.
    record: Callable[[SocketExchange, Head | None], None]

    def __init__(
        self,
        new_records: Mapping[str, NewSocketRecord],
        noting: Noting,
        is_excluded: Callable[[bytes], bool] | None,
        *,
        timed: bool,
    ) -> None:
        self.timed = timed
        self._fail = noting[-1]
        self._is_excluded = is_excluded
        self._records = {event: new(*noting) for event, new in new_records.items()}
        if "ended" in self._records:
            self.connecting = self.connected = _pass_over
            self.record = self._with_exclusions(self._record_end)
        else:
            self.connecting = self._with_exclusions(self._records["connecting"])
            self.connected = self._with_exclusions(self._records["connected"])
            self.record = self._with_exclusions(self._record_as_daphne)

    def _with_exclusions(self, record: SocketRecord) -> SocketRecord:
        is_excluded, fail = self._is_excluded, self._fail
        if is_excluded is None:
            return record

        def record_others(exchange: SocketExchange, head: Head | None = None, /) -> None:
            try:
                excluded = is_excluded(exchange.request.target)
            except Exception as error:
                fail(error)
            else:
                if not excluded:
                    record(exchange, head)

        return record_others

    def _record_end(self, exchange: SocketExchange, head: Head | None = None, /) -> None:
        # As with any request, there is no line if the client did not wait for the answer.
        if head is not None:
            self._records["ended"](exchange, head)

    def _record_as_daphne(self, exchange: SocketExchange, head: Head | None = None, /) -> None:
        try:
            # To Daphne, only the application rejects: if the client leaves, nobody has said no,
            # nor if the server answers because the application has failed.
            refused = head is not None and not exchange.accepted
            rejected = refused and exchange.closed_by != "server"
        except Exception as error:
            self._fail(error)
            return
        if rejected:
            self._records["rejected"](exchange)
        self._records["disconnected"](exchange)


def _pass_over(exchange: SocketExchange) -> None:
    """An event that has no line in this format."""
