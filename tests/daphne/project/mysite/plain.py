"""Django alone, with a piece of ASGI middleware around it; the environment names the settings."""

from django.core.asgi import get_asgi_application

from aserver.types import ASGIApplication, Message, Receive, Scope, Send


class Stamp:
    """Write upon each response that it was here."""

    def __init__(self, app: ASGIApplication) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", b"here")]
            await send(message)

        await self._app(scope, receive, stamped)


application = Stamp(get_asgi_application())
