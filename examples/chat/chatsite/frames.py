"""What a page may send: a text and a nonce, of limited length and at a limited rate."""

import json
import re
from collections import deque
from dataclasses import dataclass

LONGEST_TEXT = 1000  # characters
LONGEST_FRAME = 16_000  # the same with every character escaped, and some room

NONCE = re.compile(r"[A-Za-z0-9_-]{1,40}")
# JSON can escape halves of surrogate pairs, which nothing can store, and NUL, which not all can.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Refused(Exception):
    """Nothing is done; the page is told why, politely."""


@dataclass(frozen=True)
class Said:
    text: str
    nonce: str


def parse(frame: str | None) -> Said:
    """What a frame says. Believes nothing: anybody can write frames without our page."""
    if frame is None or len(frame) > LONGEST_FRAME:
        raise Refused("Only short text frames are understood here.")
    try:
        content = json.loads(frame)
    except (ValueError, RecursionError):
        raise Refused("This is not JSON.") from None
    match content:
        case {"text": str(text), "nonce": str(nonce)} if NONCE.fullmatch(nonce):
            return Said(text=checked(text), nonce=nonce)
        case _:
            raise Refused("A message has a text and a nonce.")


def checked(text: str) -> str:
    text = text.strip()
    if not text:
        raise Refused("There is nothing in this message.")
    if len(text) > LONGEST_TEXT:
        raise Refused(f"A message has at most {LONGEST_TEXT} characters.")
    if UNSTORABLE.search(text):
        raise Refused("This message has characters that cannot be kept.")
    return text


class Throttle:
    """So many frames in any period of so many seconds."""

    def __init__(self, count: int, period: float) -> None:
        self.period = period
        self.times: deque[float] = deque([float("-inf")] * count, maxlen=count)

    def wait(self, now: float) -> float:
        """How long the frame that came now is early; one in time, 0, counts."""
        early = self.times[0] + self.period - now
        if early > 0:
            return early
        self.times.append(now)
        return 0.0
