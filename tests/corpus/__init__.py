"""Requests as data: the bytes, the requests in them, and the verdict.

Each case in the JSON files has a `name`, an `input` (a list of pieces; characters stand for bytes),
the `requests` that an engine must find in it, and, if it is `refused`, the status of the refusal.
What a request does not spell out is as in `Found`. In `advisories` are the mistakes of others: each
name says whose, and under which number it is known.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Found:
    """A request as a test compares it."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    version: str = "1.1"
    length: int | None = 0
    keep_alive: bool = True
    expects_continue: bool = False
    upgrade: tuple[bytes, ...] = ()
    body: bytes = b""
    complete: bool = True


@dataclass
class Case:
    """One input and what it comes to."""

    name: str
    pieces: list[bytes]
    requests: list[Found] = field(default_factory=list)
    refused: int | None = None

    @property
    def data(self) -> bytes:
        """The whole input."""
        return b"".join(self.pieces)

    def __str__(self) -> str:
        return self.name


def load(name: str) -> list[Case]:
    """The cases of one file."""
    path = Path(__file__).with_name(f"{name}.json")
    return [_case(**each) for each in json.loads(path.read_text("utf-8"))]


def _case(
    name: str, input: list[str], requests: list[dict[str, Any]], refused: int | None = None
) -> Case:
    pieces = [piece.encode("latin-1") for piece in input]
    return Case(name, pieces, [_found(**each) for each in requests], refused)


def _found(target: str, headers: list[list[str]], **rest: Any) -> Found:
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    rest["body"] = rest.get("body", "").encode("latin-1")
    rest["upgrade"] = tuple(name.encode("latin-1") for name in rest.get("upgrade", []))
    return Found(target=target.encode("latin-1"), headers=fields, **rest)
