"""The application of `tests.deploy.site`, which also tells what a PROXY header has said.

It tells that as if it was a header of the request: `proxy-protocol`, as JSON.
"""

import json

from aserver.types import Receive, Scope, Send
from tests.deploy import site


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    said = scope.get("extensions", {}).get("proxy_protocol")
    if said is not None:
        tlvs = {str(kind): value.hex() for kind, value in said["tlvs"]}
        told = json.dumps({**said, "tlvs": tlvs}).encode("ascii")
        scope["headers"] = [*scope["headers"], (b"proxy-protocol", told)]
    await site.app(scope, receive, send)
