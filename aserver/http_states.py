"""How far a request and its response are, or a WebSocket: the states of both cycles.

The values are what an application reads when it sends a message that its state does not allow.
"""

from enum import Enum


class Receiving(Enum):
    """How far the request body is."""

    OPEN = "more is on its way"
    RECEIVED = "all has arrived"
    DELIVERED = "the application has it all"
    LAST = "all has arrived, and the client has closed its side"
    HUNG_UP = "the application has it all, and the client has closed its side"


class Sending(Enum):
    """How far the response is, or the WebSocket."""

    AWAITED = "no http.response.start yet"
    HELD = "http.response.start was sent, its head waits for the first http.response.body"
    STREAMING = "the head is out"
    FILE = "a file is being sent"
    TRAILERS = "the body is complete, its trailers are not"
    COMPLETE = "the response is complete"
    UPGRADED = "the WebSocket is open"
    CLOSING = "the application has closed the WebSocket"
    DISCONNECTED = "the client is gone"


class Told(Enum):
    """What the application of a WebSocket has been told by `receive()`, messages aside."""

    NOTHING = "nothing"
    CONNECT = "the handshake"
    DISCONNECT = "the end"


# An enum's attribute look-up is a call in Python 3.11.
OPEN = Receiving.OPEN
RECEIVED = Receiving.RECEIVED
DELIVERED = Receiving.DELIVERED
LAST = Receiving.LAST
HUNG_UP = Receiving.HUNG_UP

AWAITED = Sending.AWAITED
HELD = Sending.HELD
STREAMING = Sending.STREAMING
FILE = Sending.FILE
TRAILERS = Sending.TRAILERS
COMPLETE = Sending.COMPLETE
UPGRADED = Sending.UPGRADED
CLOSING = Sending.CLOSING
DISCONNECTED = Sending.DISCONNECTED

NOTHING, CONNECT, DISCONNECT = Told
