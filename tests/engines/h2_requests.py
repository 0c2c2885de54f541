"""Requests of HTTP/2 as header sections, right or wrong, and their verdicts."""

from typing import Any

import pytest

from aserver.engines.h2_heads import request_of
from aserver.limits import RequestLimits
from aserver.types import Field, Headers, ProtocolError, Request
from tests.fakes import LIMITS

HOST = (b"host", b"a")


def head(*fields: Field, **instead: bytes | None) -> Headers:
    """A header section, with other pseudo-headers than the plainest; None: without one."""
    pseudo = {"method": b"GET", "scheme": b"https", "authority": b"a", "path": b"/", **instead}
    found = [(b":" + name.encode(), value) for name, value in pseudo.items() if value is not None]
    return [*found, *fields]


def request(
    fields: Headers,
    *,
    limits: RequestLimits = LIMITS,
    ended: bool = True,
    may_upgrade: bool = False,
) -> Request:
    return request_of(fields, limits, ended=ended, may_upgrade=may_upgrade)


def refusal(fields: Headers, **options: Any) -> tuple[int, str]:
    with pytest.raises(ProtocolError) as caught:
        request(fields, **options)
    return caught.value.status, caught.value.reason
