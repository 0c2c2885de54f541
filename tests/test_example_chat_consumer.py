"""The demo site's chat consumer, called in this process, without a server."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import django
import pytest
from asgiref.testing import ApplicationCommunicator

from tests.example_chat import EXAMPLE, environment, migrate

# That of Channels is this one with a few lines, but importing it imports Daphne. It has no types.
Communicator: Any = ApplicationCommunicator


class Site:
    """The demo's application, and what its tests want from inside of it."""

    def __init__(self) -> None:
        # Only now: Django is set up, and the path to the site is there.
        from channels.layers import channel_layers, get_channel_layer
        from django.contrib.auth.models import User
        from django.contrib.sessions.backends.db import SessionStore

        self.application = import_module("chatsite.asgi").application
        self.consumers = import_module("chatsite.consumers")
        self.messages = import_module("chatsite.models").Message.objects
        self.users = User.objects
        self.new_session = SessionStore
        self.get_layer = get_channel_layer
        self.forget_layers = channel_layers.backends.clear

    async def visitor(self, name: str) -> str:
        """The session of somebody who has chosen a name."""
        session = self.new_session()
        session["visitor"] = {"id": f"visitor-{name}", "name": name}
        await session.asave()
        return str(session.session_key)

    @asynccontextmanager
    async def tab(self, session: str = "", room: str = "tea") -> AsyncIterator["Tab"]:
        """An open page in a room; it leaves at the end of the block."""
        tab = Tab(self.application, f"/ws/chat/{room}/", session)
        assert await tab.open() == "websocket.accept"
        yield tab
        await tab.leave()


class Tab:
    """A page without a browser: the WebSocket, as the application sees it."""

    def __init__(
        self, application: Any, path: str, session: str, origin: str | None = "http://localhost"
    ) -> None:
        headers = [(b"cookie", f"sessionid={session}".encode()), (b"host", b"localhost")]
        if origin is not None:
            headers.append((b"origin", origin.encode()))
        scope = {"type": "websocket", "path": path, "headers": headers, "query_string": b""}
        self.socket = Communicator(application, scope)

    async def open(self) -> str:
        """Shake hands; returns the type of the answer."""
        await self.socket.send_input({"type": "websocket.connect"})
        answer: str = (await self.socket.receive_output(10))["type"]
        return answer

    async def send(self, **content: str | bytes) -> None:
        await self.socket.send_input({"type": "websocket.receive", **content})

    async def say(self, text: str, nonce: str = "n1") -> None:
        await self.send(text=json.dumps({"text": text, "nonce": nonce}))

    async def frame(self, kind: str) -> dict[str, Any]:
        """The next frame, which is of this kind."""
        message = await self.socket.receive_output(10)
        frame: dict[str, Any] = json.loads(message["text"])
        assert frame.pop("type") == kind, message
        return frame

    async def comes_in(self, *others: str) -> list[str]:
        """Read what everybody gets first; returns the texts of the history."""
        welcome = await self.frame("welcome")
        here = [await self.frame("here") for _ in range(1 + len(others))]
        assert {each["person"]["name"] for each in here} == {welcome["you"]["name"], *others}
        assert [each["person"] for each in here if each["new"]] == [welcome["you"]]
        return [message["text"] for message in welcome["messages"]]

    async def leave(self) -> None:
        await self.socket.send_input({"type": "websocket.disconnect", "code": 1001})
        await self.socket.wait(10)


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    path = migrate(tmp_path_factory.mktemp("inside") / "db.sqlite3")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(path, DEBUG="off", CHANNEL_LAYER="memory").items():
            patch.setenv(name, value)
        patch.syspath_prepend(EXAMPLE)
        django.setup()
        yield Site()


@pytest.fixture
def site(configured: Site) -> Site:
    """The demo's application without messages, and with a channel layer for this event loop."""
    configured.forget_layers()
    configured.messages.all().delete()
    return configured


@pytest.mark.asyncio
async def test_a_message_reaches_everybody_and_is_kept(site: Site) -> None:
    ada, bob = await site.visitor("Ada"), await site.visitor("Bob")
    async with site.tab(ada) as one, site.tab(bob) as two, site.tab(bob, "help") as elsewhere:
        assert await one.comes_in() == []
        assert await two.comes_in("Ada") == []
        await one.frame("here")
        await one.say(" Good\nmorning 👋 ", "n-1")
        confirmed = await one.frame("message")
        assert confirmed.pop("nonce") == "n-1"
        assert confirmed["text"] == "Good\nmorning 👋"
        assert confirmed["person"] == {"id": "visitor-Ada", "name": "Ada"}
        assert await two.frame("message") == confirmed
        async with site.tab(ada) as three:
            assert await three.comes_in("Bob") == ["Good\nmorning 👋"]
        assert await elsewhere.comes_in() == []
        for tab in (one, two, elsewhere):
            assert await tab.socket.receive_nothing()


@pytest.mark.asyncio
async def test_a_message_sent_again_is_said_once(site: Site) -> None:
    ada, bob = await site.visitor("Ada"), await site.visitor("Bob")
    async with site.tab(bob) as other, site.tab(ada) as tab:
        await tab.comes_in("Bob")
        for _ in range(2):
            await tab.say("Hello", "the-same")
        assert await tab.frame("message") == await tab.frame("message")
        await other.comes_in()
        await other.frame("here")
        assert (await other.frame("message"))["text"] == "Hello"
        assert await other.socket.receive_nothing()


@pytest.mark.asyncio
async def test_the_history_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsite.models.KEPT_IN_A_ROOM", 3)
    monkeypatch.setattr("chatsite.models.KEPT_IN_ALL", 5)
    ada = await site.visitor("Ada")
    for room in ("tea", "help", "attic"):
        async with site.tab(ada, room) as tab:
            await tab.comes_in()
            for number in range(4):
                await tab.say(f"{room} {number}", f"{number}")
                await tab.frame("message")
    texts = [message.text async for message in site.messages.order_by("id")]
    assert texts == ["help 3", "attic 1", "attic 2", "attic 3"]


@pytest.mark.asyncio
async def test_presence_counts_people_not_tabs(site: Site) -> None:
    ada, bob = await site.visitor("Ada"), await site.visitor("Bob")
    async with site.tab(bob) as tab:
        await tab.comes_in()
        async with site.tab(ada) as one:
            assert await tab.frame("here") == {
                "person": {"id": "visitor-Ada", "name": "Ada"},
                "new": True,
            }
            async with site.tab(ada) as two:
                await two.comes_in("Bob")
                await one.leave()
                assert await tab.socket.receive_nothing()
        assert (await tab.frame("gone"))["person"]["name"] == "Ada"


@pytest.mark.asyncio
async def test_who_is_cut_off_is_gone(site: Site) -> None:
    ada, bob = await site.visitor("Ada"), await site.visitor("Bob")
    async with site.tab(bob) as tab:
        await tab.comes_in()
        cut_off = Tab(site.application, "/ws/chat/tea/", ada)
        await cut_off.open()
        await tab.frame("here")
        cut_off.socket.stop()
        assert (await tab.frame("gone"))["person"]["name"] == "Ada"


@pytest.mark.asyncio
async def test_who_falls_silent_is_gone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.consumers, "BEAT", 0.02)
    monkeypatch.setattr(site.consumers, "SILENCE", 1.0)
    ada, bob = await site.visitor("Ada"), await site.visitor("Bob")
    ghost = {"id": "visitor-ghost", "name": "Ghost"}
    async with site.tab(ada) as one, site.tab(bob) as two:
        await two.comes_in("Ada")
        # A member of a process that is killed right after this.
        await site.get_layer().group_send(
            "chat.tea",
            {"type": "presence.hello", "member": "x!y", "person": ghost, "asking": False},
        )
        assert await two.frame("here") == {"person": ghost, "new": False}
        assert await two.frame("gone") == {"person": ghost}
        # Not so those whose hearts beat; and they are not said to be here over and over.
        assert await two.socket.receive_nothing(0.3)
        await one.comes_in()


@pytest.mark.asyncio
async def test_an_account_has_its_own_name(site: Site) -> None:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    user = await site.users.acreate(username="grace")
    session = site.new_session()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    await session.asave()
    async with site.tab(session.session_key) as tab:
        assert (await tab.frame("welcome"))["you"] == {"id": f"user-{user.pk}", "name": "grace"}


@pytest.mark.asyncio
@pytest.mark.parametrize("session", ["", "a" * 32, "\n"])
async def test_who_has_no_name_is_told_so(site: Site, session: str) -> None:
    tab = Tab(site.application, "/ws/chat/tea/", session)
    assert await tab.open() == "websocket.accept"
    assert await tab.socket.receive_output(10) == {"type": "websocket.close", "code": 4401}
    await tab.socket.wait(10)


@pytest.mark.asyncio
@pytest.mark.parametrize("origin", [None, "https://example.com", "null", "file://"])
async def test_pages_of_other_sites_are_turned_away(site: Site, origin: str | None) -> None:
    tab = Tab(site.application, "/ws/chat/tea/", await site.visitor("Ada"), origin)
    assert await tab.open() == "websocket.close"
    await tab.leave()


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/", "/ws/", "/ws/chat/", "/ws/chat/Tea/", "/ws/chat/tea/more/"])
async def test_other_paths_are_turned_away(site: Site, path: str) -> None:
    tab = Tab(site.application, path, await site.visitor("Ada"))
    assert await tab.open() == "websocket.close"
    await tab.leave()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        ({"bytes": b"{}"}, "text frames"),
        ({"text": ""}, "not JSON"),
        ({"text": "{"}, "not JSON"),
        ({"text": "[" * 15_000}, "not JSON"),
        ({"text": "1" * 15_000}, "not JSON"),
        ({"text": " " * 20_000}, "short"),
        ({"text": "[]"}, "text and a nonce"),
        ({"text": "null"}, "text and a nonce"),
        ({"text": '{"text": "Hello"}'}, "text and a nonce"),
        ({"text": '{"text": ["Hello"], "nonce": "n"}'}, "text and a nonce"),
        ({"text": '{"text": "Hello", "nonce": ""}'}, "text and a nonce"),
        ({"text": '{"text": "Hello", "nonce": "a b"}'}, "text and a nonce"),
        ({"text": '{"text": " ", "nonce": "n"}'}, "nothing"),
        ({"text": json.dumps({"text": "x" * 1001, "nonce": "n"})}, "at most 1000"),
        ({"text": '{"text": "a\\u0000b", "nonce": "n"}'}, "cannot be kept"),
        ({"text": '{"text": "\\ud83d", "nonce": "n"}'}, "cannot be kept"),
    ],
)
async def test_nonsense_gets_a_polite_answer(
    site: Site, frame: dict[str, Any], problem: str
) -> None:
    async with site.tab(await site.visitor("Ada")) as tab:
        await tab.comes_in()
        await tab.send(**frame)
        assert problem in (await tab.frame("error"))["text"]
        await tab.say("🦭" * 1000)
        assert (await tab.frame("message"))["text"] == "🦭" * 1000


@pytest.mark.asyncio
async def test_too_fast_is_told_how_long_to_wait(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site.consumers, "PERIOD", 60.0)
    async with site.tab(await site.visitor("Ada")) as tab:
        await tab.comes_in()
        for number in range(11):
            await tab.say("Quick", f"{number}")
        for _ in range(10):
            await tab.frame("message")
        assert 0 < (await tab.frame("error"))["wait"] <= 60
    assert await site.messages.acount() == 10
