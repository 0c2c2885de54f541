"""The demo as browsers use it over TLS: pages, files and the chat's WebSocket, all over HTTP/2."""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.certificates import Authority, Issued
from tests.example_chat import APPLICATION, EXAMPLE, environment, migrate
from tests.processes import Process
from tests.services import require_program
from tests.test_example_chat_browser import (
    BROWSER_OPTIONS,
    NO_FAULT,
    expect_connected,
    expect_people,
    expect_words,
    say,
    stop,
)

pytestmark = pytest.mark.services
LOG_FORMAT = "%(H)s %(m)s %(U)s %(s)s"
# What the page says of the session: how each thing that it has loaded came.
PROTOCOLS = """() => [
    ...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")
].map(entry => entry.nextHopProtocol)"""
Open = Callable[[str], Page]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("chat") / "db.sqlite3")


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue("localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = require_program("chromium")
    # The authority is unknown to it, and its own store of them is not ours to fill.
    options = [*BROWSER_OPTIONS.split(), "--ignore-certificate-errors"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """A page of a browser of its own, in which nothing may fail."""
    complaints: list[str] = []

    def open_one(url: str) -> Page:
        page = browser.new_context().new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    yield open_one
    for context in browser.contexts:
        context.close()
    assert [each for each in complaints if not NO_FAULT.match(each)] == []


def start(database: Path, issued: Issued, bind: str = "127.0.0.1:0") -> Process:
    options = ["--app-dir", str(EXAMPLE), "--bind", bind]
    options += ["--certfile", issued.certificate, "--keyfile", issued.key]
    options += ["--access-log", "-", "--access-log-format", LOG_FORMAT]
    return Process(APPLICATION, *options, environ=environment(database, DEBUG="off"))


def come_in(open_page: Open, url: str, name: str) -> Page:
    page = open_page(f"{url}/chat/over-tls/")
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    expect_connected(page)
    page.wait_for_load_state("networkidle")
    return page


def test_a_page_and_a_file(database: Path, issued: Issued, open_page: Open, tmp_path: Path) -> None:
    content = bytes(range(256)) * (3 << 12)  # 3 MiB
    (tmp_path / "file.bin").write_bytes(content)
    with start(database, issued) as server:
        page = open_page(f"{server.url}/upload/")
        assert set(page.evaluate(PROTOCOLS)) == {"h2"}
        page.get_by_label("File").set_input_files(tmp_path / "file.bin")
        page.get_by_role("button", name="Send it").click()
        expect(page.locator("#size")).to_have_text(f"{len(content)}")
        expect(page.locator("#sha256")).to_have_text(hashlib.sha256(content).hexdigest())
        stop(server)
    assert set(logged(server)) == {"HTTP/2"}
    assert "POST /upload/" in logged(server)["HTTP/2"]


def test_a_chat_survives_a_restart(database: Path, issued: Issued, open_page: Open) -> None:
    with start(database, issued) as server:
        url = server.url
        ada, bob = (come_in(open_page, url, name) for name in ("Ada", "Bob"))
        expect_people(ada, "Ada", "Bob")
        say(ada, "Before")
        say(bob, "And here")
        for page in (ada, bob):
            expect_words(page, "Before", "And here")
        stop(server)
    assert set(logged(server)) == {"HTTP/2"}
    assert logged(server)["HTTP/2"].count("CONNECT /ws/chat/over-tls/") == 2
    for page in (ada, bob):
        expect(page.locator("#state")).to_contain_text("It will come back by itself")
    say(ada, "While nobody was there")
    with start(database, issued, urlsplit(url).netloc) as server:
        assert server.url == url
        for page in (ada, bob):
            expect_connected(page)
            expect_words(page, "Before", "And here", "While nobody was there")
        # Without a connection of HTTP/2 a browser makes one of HTTP/1.1 for a WebSocket.
        ada.reload()
        expect_connected(ada)
        ada.wait_for_load_state("networkidle")
        stop(server)
    assert logged(server)["HTTP/1.1"] == ["GET /ws/chat/over-tls/"] * 2
    assert logged(server)["HTTP/2"].count("CONNECT /ws/chat/over-tls/") == 1


def logged(server: Process) -> dict[str, list[str]]:
    """Methods and paths in the access log of a server that has ended, by version."""
    found: dict[str, list[str]] = {}
    for version, request in re.findall(r"^(HTTP/\S+) (\S+ \S+) \d+$", server.stdout, re.MULTILINE):
        found.setdefault(version, []).append(request)
    return found


def test_a_story_that_is_not_heard_to_the_end(
    database: Path, issued: Issued, open_page: Open
) -> None:
    with start(database, issued) as server:
        page = open_page(f"{server.url}/stream/")
        page.get_by_role("button", name="Ask").click()
        expect(page.locator("#answer")).not_to_be_empty()
        page.get_by_role("button", name="Stop").click()
        expect(page.locator('[data-count="abandoned"]')).to_have_text("1")
        stop(server)
    assert set(logged(server)) == {"HTTP/2"}
    assert "GET /stream/tokens/" in logged(server)["HTTP/2"]
