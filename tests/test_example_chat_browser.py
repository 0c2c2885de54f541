"""The chat as people use it: browsers, a server that restarts, two servers with Redis between."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect, sync_playwright

from tests.example_chat import APPLICATION, EXAMPLE, environment, migrate
from tests.processes import Process, Program
from tests.services import require_program

pytestmark = pytest.mark.services
BROWSER_OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --no-proxy-server"
    " --disable-background-networking --disable-component-update --disable-sync"
)
# What a browser says of a server that is not there just then; and of a test that types before the
# page is drawn for the first time.
NO_FAULT = re.compile(
    "WebSocket connection to .* failed: Error in connection establishment"
    "|Failed to load resource: net::ERR_CONNECTION_REFUSED"
    "|Autofocus processing was blocked because a document already has a focused element"
)
Visit = Callable[..., Page]


def start(database: Path, bind: str = "127.0.0.1:0", **environ: str) -> Process:
    options = ("--app-dir", str(EXAMPLE), "--bind", bind)
    return Process(APPLICATION, *options, environ=environment(database, DEBUG="off", **environ))


def stop(server: Process) -> None:
    """As a supervisor does, and see that all went quietly."""
    assert server.end() == 0, server.stderr
    assert "Traceback" not in server.stderr, server.stderr


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("chat") / "db.sqlite3")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = require_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_OPTIONS.split())
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Come into a room as somebody, with a browser of their own, in which nothing may fail."""
    complaints: list[str] = []
    own_room = re.sub("[^a-z]+", "-", request.node.name)[-32:].strip("-")

    def come_in(
        url: str, name: str, route: Callable[[WebSocketRoute], object] | None = None
    ) -> Page:
        page = browser.new_context().new_page()
        if route is not None:
            page.route_web_socket("**/ws/**", route)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{url}/chat/{own_room}/")
        page.get_by_label("Your name").fill(name)
        page.keyboard.press("Enter")
        expect_connected(page)
        return page

    yield come_in
    for context in browser.contexts:
        context.close()
    assert [each for each in complaints if not NO_FAULT.match(each)] == []


@pytest.fixture(scope="module")
def url(database: Path) -> Iterator[str]:
    """Of one server for all: each test has a room of its own."""
    with start(database) as server:
        yield server.url
        stop(server)


def expect_connected(page: Page) -> None:
    expect(page.locator("#state")).to_have_text("Connected", timeout=20_000)


def say(page: Page, text: str) -> None:
    """With the keyboard alone: the page has put the focus where one writes."""
    page.keyboard.insert_text(text)
    page.keyboard.press("Enter")


def expect_people(page: Page, *names: str) -> None:
    """Everybody is here, and nobody on the point of leaving."""
    expect(page.locator("#people .name")).to_have_text(names, timeout=10_000)
    expect(page.locator("#people .leaving")).to_have_count(0, timeout=10_000)


def expect_words(page: Page, *words: str) -> None:
    """Exactly these messages, all of them delivered."""
    expect(page.locator("#log .words")).to_have_text(words, timeout=20_000)
    expect(page.locator("#waiting .words")).to_have_count(0)


def notes(page: Page) -> list[str]:
    return [text.split(" ·")[0] for text in page.locator("#log .note").all_inner_texts()]


@contextmanager
def departure(page: Page, name: str) -> Iterator[None]:
    """Of somebody who leaves in the block: who is away for some seconds may come back."""
    page.clock.install()
    yield
    expect(page.locator("#people .leaving .name")).to_have_text(name)
    page.clock.fast_forward(3_000)
    assert f"{name} left" not in notes(page)
    page.clock.fast_forward(3_000)
    expect(page.get_by_text(f"{name} left")).to_be_visible()


def test_two_people_talk(url: str, visit: Visit) -> None:
    ada = visit(url, "Ada")
    expect_people(ada, "Ada")
    bob = visit(url, "<b>Bob</b>")
    expect_people(ada, "Ada", "<b>Bob</b>")
    expect_people(bob, "<b>Bob</b>", "Ada")
    say(ada, "Is <i>this</i> on?")
    say(bob, "It is & it was")
    for page in (ada, bob):
        expect_words(page, "Is <i>this</i> on?", "It is & it was")
    expect(ada.locator(".own .words")).to_have_text("Is <i>this</i> on?")
    expect(bob.locator(".own .words")).to_have_text("It is & it was")
    expect(bob.locator("#log")).to_have_attribute("aria-live", "polite")
    assert notes(ada) == ["<b>Bob</b> came in"]
    assert notes(bob) == []
    with departure(ada, "<b>Bob</b>"):
        bob.close()
    expect_people(ada, "Ada")


def test_a_reload_keeps_the_conversation_and_is_no_departure(url: str, visit: Visit) -> None:
    ada, bob = visit(url, "Ada"), visit(url, "Bob")
    say(ada, "First")
    expect_words(bob, "First")
    bob.keyboard.insert_text("half a thou")
    bob.reload()
    expect_connected(bob)
    expect_words(bob, "First")
    expect(bob.get_by_label("Your message")).to_have_value("half a thou")
    expect_people(ada, "Ada", "Bob")
    say(bob, "ght")
    expect_words(ada, "First", "half a thought")
    assert notes(ada) == ["Bob came in"]


def test_a_person_with_two_tabs_is_one(url: str, visit: Visit) -> None:
    ada, bob = visit(url, "Ada"), visit(url, "Bob")
    second = bob.context.new_page()
    second.goto(bob.url)
    expect_people(second, "Bob", "Ada")
    say(second, "Here, too")
    expect(bob.locator(".own .words")).to_have_text("Here, too")
    bob.close()
    say(second, "Still here")
    expect_words(ada, "Here, too", "Still here")
    expect_people(ada, "Ada", "Bob")
    assert notes(ada) == ["Bob came in"]


def test_more_than_may_be_said_at_once_arrives_in_the_end(url: str, visit: Visit) -> None:
    ada, bob = visit(url, "Ada"), visit(url, "Bob")
    lines = [f"line {number}" for number in range(12)]
    # In less time than a keyboard's events take on a busy machine.
    ada.evaluate(
        "lines => lines.forEach(line => { draft.value = line; say.requestSubmit(); })", lines
    )
    expect(ada.get_by_role("alert")).to_have_text("That was fast. The rest follows in a moment.")
    expect_words(bob, *lines)
    expect_words(ada, *lines)
    expect(ada.get_by_role("alert")).to_be_empty()


def test_a_session_that_has_ended_is_not_tried_again(url: str, visit: Visit) -> None:
    sockets: list[WebSocketRoute] = []
    ada = visit(url, "Ada", route=lambda socket: sockets.append(pass_on(socket)))
    ada.context.clear_cookies()
    sockets[0].close(code=1012)
    expect(ada.locator("#state")).to_contain_text("Your session has ended")
    assert len(sockets) == 2


@pytest.mark.parametrize(("code", "soonest", "latest"), [(1012, 0, 100), (1011, 250, 500)])
def test_back_at_once_after_a_restart_else_later(
    url: str, visit: Visit, code: int, soonest: int, latest: int
) -> None:
    sockets: list[WebSocketRoute] = []
    ada = visit(url, "Ada", route=lambda socket: sockets.append(pass_on(socket)))
    ada.clock.install()
    ada.reload()
    expect_connected(ada)
    ada.clock.pause_at(ada.evaluate("Date.now() + 1000"))
    sockets[-1].close(code=code)
    expect(ada.locator("#state")).to_contain_text("It will come back by itself")
    if soonest:
        ada.clock.run_for(soonest - 1)
        assert len(sockets) == 2
    ada.clock.run_for(latest + 1)
    expect_connected(ada)
    assert len(sockets) == 3


def pass_on(socket: WebSocketRoute) -> WebSocketRoute:
    socket.connect_to_server()
    return socket


def test_pages_survive_a_restart(database: Path, visit: Visit) -> None:
    with start(database) as server:
        url = server.url
        ada, bob = visit(url, "Ada"), visit(url, "Bob")
        say(ada, "Before")
        expect_words(bob, "Before")
        before = notes(ada), notes(bob)
        stop(server)
    for page in (ada, bob):
        expect(page.locator("#state")).to_contain_text("It will come back by itself")
    say(ada, "While nobody was there")
    expect(ada.locator("#waiting .words")).to_have_text("While nobody was there")
    ada.keyboard.insert_text("half a thought")
    with start(database, urlsplit(url).netloc) as server:
        assert server.url == url
        for page in (ada, bob):
            expect_connected(page)
            expect_words(page, "Before", "While nobody was there")
            expect_people(page, *("Ada", "Bob") if page is ada else ("Bob", "Ada"))
        expect(ada.get_by_label("Your message")).to_have_value("half a thought")
        # Nobody is on the point of leaving, so there will be no notes of it later.
        assert (notes(ada), notes(bob)) == before
        ada.keyboard.press("Enter")
        expect_words(bob, "Before", "While nobody was there", "half a thought")
        stop(server)


@contextmanager
def redis(directory: Path) -> Iterator[str]:
    """A Redis of our own, without a file; gives its URL."""
    program = require_program("redis-server")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    settings = f"--bind 127.0.0.1 --port {port} --appendonly no --dir {directory} --save".split()
    with Program([program, *settings, ""]) as server:
        server.wait_until(lambda: answers(port))
        yield f"redis://127.0.0.1:{port}/0"
        assert server.end() == 0, server.output


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(100) == b"+PONG\r\n"
    except ConnectionRefusedError:
        return False


def test_two_processes_are_one_chat_with_redis(
    database: Path, visit: Visit, tmp_path: Path
) -> None:
    with (
        redis(tmp_path) as layer,
        start(database, CHANNEL_LAYER=layer) as one,
        start(database, CHANNEL_LAYER=layer) as two,
    ):
        ada, bob = visit(one.url, "Ada"), visit(two.url, "Bob")
        for page in (ada, bob):
            expect_people(page, *("Ada", "Bob") if page is ada else ("Bob", "Ada"))
        say(ada, "From one")
        expect_words(bob, "From one")
        say(bob, "From two")
        expect_words(ada, "From one", "From two")
        assert notes(ada) == ["Bob came in"]
        # The people of a process that stops have left, for those of the other.
        with departure(ada, "Bob"):
            stop(two)
        expect_people(ada, "Ada")
        stop(one)
