"""The demo site as people run it: the server's own command, real clients, a real browser."""

import asyncio
import hashlib
import json
import os
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect, sync_playwright

from tests.example_chat import EXAMPLE, environment, migrate, served
from tests.processes import PYTHON
from tests.services import require_program

CSRF_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')
MEGABYTE = random.Random(1).randbytes(1 << 20)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("chat") / "db.sqlite3")


@pytest.fixture(scope="module")
def url(database: Path) -> Iterator[str]:
    with served(environment(database, DEBUG="off")) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, follow_redirects=True, timeout=20, trust_env=False) as client:
        yield client


def wait_until(condition: Callable[[], bool], timeout: float = 5.0) -> float:
    """Ask until it is so; return how many seconds that took."""
    started = time.perf_counter()
    while not condition():
        assert time.perf_counter() - started < timeout
    return time.perf_counter() - started


def stream_counts(client: httpx.Client) -> dict[str, int]:
    counts: dict[str, int] = client.get("/stream/status/").json()
    return counts


# The project itself


def test_django_finds_nothing_to_complain_about(database: Path) -> None:
    command = [*PYTHON, str(EXAMPLE / "manage.py"), "check", "--fail-level=WARNING"]
    subprocess.run(command, env=environment(database), check=True, timeout=30)


def test_migrations_are_complete(database: Path) -> None:
    command = [*PYTHON, str(EXAMPLE / "manage.py"), "makemigrations", "--check", "--dry-run"]
    subprocess.run(command, env=environment(database), check=True, timeout=30)


def layer_chosen_by(setting: str, before: str = "") -> str:
    show = "from channels.layers import get_channel_layer as g; print(type(g()).__name__)"
    result = subprocess.run(
        [*PYTHON, "-c", before + show],
        cwd=EXAMPLE,
        env=environment(Path("unused"), CHANNEL_LAYER=setting),
        check=False,
        timeout=30,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return result.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("setting", "layer"),
    [
        ("", "InMemoryChannelLayer"),
        ("memory", "InMemoryChannelLayer"),
        ("redis://localhost:6379/0", "RedisChannelLayer"),
    ],
)
def test_environment_chooses_the_channel_layer(setting: str, layer: str) -> None:
    assert layer_chosen_by(setting) == layer


def test_an_unknown_channel_layer_is_a_clear_error() -> None:
    error = layer_chosen_by("amqp://localhost/")
    assert error.startswith("django.core.exceptions.ImproperlyConfigured: CHANNEL_LAYER is")
    assert "redis://host:6379/0" in error


def test_redis_without_its_package_is_a_clear_error() -> None:
    error = layer_chosen_by("redis://localhost/", "import sys; sys.modules['channels_redis']=None;")
    assert error.endswith("pip install channels-redis")


def test_debug_serves_the_same_pages_and_style_sheet(database: Path) -> None:
    with (
        served(environment(database, DEBUG="on")) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        assert client.get("/").status_code == 200
        assert client.get("/static/chatsite/style.css").status_code == 200


# Pages


@pytest.mark.parametrize(
    ("path", "content_type", "text"),
    [
        ("/", "text/html; charset=utf-8", "Hello."),
        ("/chat/", "text/html; charset=utf-8", "Who is there?"),
        ("/chat/tea/", "text/html; charset=utf-8", "Your name"),
        ("/login/", "text/html; charset=utf-8", "Password"),
        ("/async/", "text/html; charset=utf-8", "MainThread"),
        ("/upload/", "text/html; charset=utf-8", 'enctype="multipart/form-data"'),
        ("/stream/", "text/html; charset=utf-8", 'aria-live="polite"'),
        ("/stream/status/", "application/json", '"running"'),
        ("/health/", "text/plain", "ok"),
        ("/static/chatsite/style.css", "text/css", "prefers-color-scheme"),
        ("/static/chatsite/icon.svg", "image/svg+xml", "<svg"),
    ],
)
def test_pages(client: httpx.Client, path: str, content_type: str, text: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == content_type
    assert text in response.text


@pytest.mark.parametrize("name", ["chat", "connection"])
def test_browsers_take_modules_for_javascript(client: httpx.Client, name: str) -> None:
    response = client.get(f"/static/chatsite/{name}.js")
    assert response.headers["content-type"].split("/")[1] == "javascript"


@pytest.mark.parametrize("path", ["/attic/", "/chat/Tea/", "/chat/-/", f"/chat/{'a' * 33}/"])
def test_a_page_that_is_not_there(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert "There is no such page." in response.text


def test_front_page_tells_of_the_request(client: httpx.Client) -> None:
    response = client.get("/")
    facts = dict(re.findall(r"<dt>(.+?)</dt><dd>(.+?)</dd>", response.text))
    host, port = response.extensions["network_stream"].get_extra_info("client_addr")
    assert facts["Protocol"] == "HTTP/1.1"
    assert facts["Scheme"] == "http"
    assert facts["Your address"] == f"{host}:{port}"
    assert facts["Server address"] == client.base_url.netloc.decode()
    assert facts["Thread"] != "MainThread"


@pytest.mark.parametrize("wait", ["", "-1", "nan", "soon"])
def test_async_view_is_not_held_up_by_nonsense(client: httpx.Client, wait: str) -> None:
    answer = client.get("/async/", params={"wait": wait, "format": "json"}).json()
    assert answer["asked"] == 0


def test_a_hundred_async_views_wait_together(url: str) -> None:
    async def wait_all() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(
            base_url=url, limits=limits, timeout=20, trust_env=False
        ) as client:
            asked = (client.get("/async/?wait=1&format=json") for _ in range(100))
            return await asyncio.gather(*asked)

    started = time.perf_counter()
    responses = asyncio.run(wait_all())
    assert time.perf_counter() - started < 20  # one after the other, it were a hundred
    assert {response.status_code for response in responses} == {200}
    assert min(response.json()["waited"] for response in responses) >= 0.99


# Names and rooms


def say_name(client: httpx.Client, name: str, there: str = "/chat/tea/") -> httpx.Response:
    token = csrf_token(client.get("/chat/").text)
    return client.post("/name/", data={"csrfmiddlewaretoken": token, "name": name, "next": there})


def test_front_page_leads_to_the_chat(client: httpx.Client) -> None:
    assert '<a class="button" href="/chat/">' in client.get("/").text


def test_a_room_asks_for_a_name_once(client: httpx.Client) -> None:
    page = say_name(client, "  Ada\u2003<b> ").text
    assert 'data-socket="/ws/chat/tea/"' in page
    assert "Where to, Ada &lt;b&gt;?" in client.get("/chat/").text
    assert 'data-socket="/ws/chat/help/"' in client.get("/chat/help/").text


@pytest.mark.parametrize("name", ["", " ", "x" * 31, "Ada\u202eB", "Ada\0"])
def test_a_name_that_will_not_do(client: httpx.Client, name: str) -> None:
    page = say_name(client, name).text
    assert 'role="alert"' in page
    assert "Your name" in page


@pytest.mark.parametrize("there", ["https://example.com/", "//example.com/", "javascript:1", ""])
def test_a_name_leads_nowhere_else(client: httpx.Client, there: str) -> None:
    assert say_name(client, "Ada", there).url.path == "/chat/"


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("tea", "/chat/tea/"),
        ("Tea time!", "/chat/tea-time/"),
        ("a" * 40, f"/chat/{'a' * 32}/"),
        ("../login", "/chat/login/"),
        ("чай", "/chat/"),
    ],
)
def test_any_text_may_name_a_room(client: httpx.Client, wanted: str, path: str) -> None:
    assert client.get("/chat/", params={"room": wanted}).url.path == path


def test_an_account_keeps_its_name_to_itself(client: httpx.Client, database: Path) -> None:
    account = {"DJANGO_SUPERUSER_PASSWORD": "sea shanty"}
    command = [*PYTHON, str(EXAMPLE / "manage.py"), "createsuperuser", "--noinput"]
    subprocess.run(
        [*command, "--username=grace", "--email="],
        env=environment(database, **account),
        check=True,
        timeout=30,
    )
    assert "belongs to an account" in say_name(client, "Grace").text
    token = csrf_token(client.get("/login/").text)
    form = {"csrfmiddlewaretoken": token, "username": "grace"}
    assert 'role="alert"' in client.post("/login/", data=form | {"password": "guess"}).text
    page = client.post("/login/", data=form | {"password": "sea shanty"}).text
    assert "You are logged in as grace." in page
    assert 'data-room="tea"' in client.get("/chat/tea/").text
    page = client.post("/logout/", data={"csrfmiddlewaretoken": csrf_token(page)}).text
    assert "Who is there?" in page


# Uploads


def test_upload_needs_the_csrf_token(client: httpx.Client) -> None:
    assert client.post("/upload/", files={"file": b"text"}).status_code == 403


def test_upload_without_a_file_says_so(client: httpx.Client) -> None:
    token = csrf_token(client.get("/upload/").text)
    response = client.post("/upload/", data={"csrfmiddlewaretoken": token})
    assert response.status_code == 422
    assert "This field is required." in response.text


@pytest.mark.parametrize("megabytes", [0, 1, 50])
def test_upload_is_weighed_and_hashed(client: httpx.Client, tmp_path: Path, megabytes: int) -> None:
    content = MEGABYTE * megabytes
    path = tmp_path / "holiday & sea.jpg"
    path.write_bytes(content)
    token = csrf_token(client.get("/upload/").text)
    with path.open("rb") as file:
        page = client.post(
            "/upload/", data={"csrfmiddlewaretoken": token}, files={"file": file}
        ).text
    assert "holiday &amp; sea.jpg arrived safely." in page
    assert f'<span id="size">{len(content)}</span>' in page
    assert hashlib.sha256(content).hexdigest() in page
    # The session remembers the receipt; the message was for once.
    page = client.get("/upload/").text
    assert hashlib.sha256(content).hexdigest() in page
    assert "arrived safely" not in page


def csrf_token(page: str) -> str:
    match = CSRF_TOKEN.search(page)
    assert match is not None
    return match[1]


# Streams


def test_tokens_arrive_one_by_one(client: httpx.Client) -> None:
    delay = 0.02
    arrivals: list[float] = []
    text = ""
    with client.stream("GET", f"/stream/tokens/?prompt=the+sea&delay={delay * 1000}") as response:
        for chunk in response.iter_text():
            arrivals.append(time.perf_counter())
            text += chunk
    assert "“the sea”" in text
    tokens = len(re.findall(r"\s*\S{1,6}", text))
    # A busy machine may deliver a few together: never most of them.
    assert len(arrivals) > tokens / 2
    assert arrivals[-1] - arrivals[0] > delay * tokens / 2


def test_the_same_prompt_has_the_same_answer_as_events(client: httpx.Client) -> None:
    path = "/stream/tokens/?prompt=the+sea&delay=0"
    text = client.get(path).text
    response = client.get(path, headers={"Accept": "text/event-stream"})
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, last, nothing = response.text.split("\n\n")
    assert "".join(json.loads(event.removeprefix("data: ")) for event in events) == text
    assert (last, nothing) == ("event: end\ndata:", "")


def test_a_stream_read_to_its_end_is_finished(client: httpx.Client) -> None:
    before = stream_counts(client)
    client.get("/stream/tokens/?delay=0")
    assert stream_counts(client) == before | {"finished": before["finished"] + 1}


def test_leaving_between_tokens_abandons_the_stream(client: httpx.Client) -> None:
    before = stream_counts(client)
    with client.stream("GET", "/stream/tokens/?prompt=the+sea") as response:
        chunks = response.iter_text()
        assert all(next(chunks) for _ in range(3))
    after = before | {"abandoned": before["abandoned"] + 1}
    wait_until(lambda: stream_counts(client) == after)


def test_leaving_is_noticed_before_the_next_token(client: httpx.Client) -> None:
    before = stream_counts(client)
    with client.stream("GET", "/stream/tokens/?delay=2000") as response:
        chunks = response.iter_text()
        assert next(chunks)
        assert stream_counts(client)["running"] == before["running"] + 1
    after = before | {"abandoned": before["abandoned"] + 1}
    assert wait_until(lambda: stream_counts(client) == after) < 1


# curl


def curl(*arguments: str) -> str:
    command = [require_program("curl"), "--silent", "--show-error", "--fail", "--noproxy", "*"]
    result = subprocess.run(
        [*command, *arguments], check=True, timeout=30, capture_output=True, text=True
    )
    return result.stdout


@pytest.mark.services
def test_curl_reads_a_page(url: str) -> None:
    assert "HTTP/1.1" in curl("--include", f"{url}/")


@pytest.mark.services
def test_curl_shows_the_stream_as_it_comes(url: str) -> None:
    command = [require_program("curl"), "--silent", "--no-buffer", "--noproxy", "*"]
    pieces = []
    with subprocess.Popen(
        [*command, f"{url}/stream/tokens/?prompt=the+sea&delay=20"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        while piece := os.read(process.stdout.fileno(), 65536):
            pieces.append(piece)
    assert process.returncode == 0
    assert "“the sea”" in b"".join(pieces).decode()
    assert len(pieces) > 20


@pytest.mark.services
def test_curl_uploads_a_file(url: str, tmp_path: Path) -> None:
    jar = str(tmp_path / "cookies")
    path = tmp_path / "picture.bin"
    path.write_bytes(MEGABYTE * 2)  # enough for curl to send "Expect: 100-continue"
    token = csrf_token(curl("--cookie-jar", jar, f"{url}/upload/"))
    page = curl(
        *("--cookie", jar, "--cookie-jar", jar, "--location"),
        *("--form", f"csrfmiddlewaretoken={token}", "--form", f"file=@{path}"),
        f"{url}/upload/",
    )
    assert hashlib.sha256(MEGABYTE * 2).hexdigest() in page


# A browser. At the end: its event loop runs in this thread, and stays until the last test.


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = (
        "--no-sandbox --disable-gpu --disable-quic --no-first-run --no-proxy-server"
        " --disable-background-networking --disable-component-update --disable-sync"
    )
    chromium = require_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options.split())
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The front page, for somebody who was never here; nothing may fail in it."""
    complaints: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    yield page
    page.close()
    assert complaints == []


@pytest.mark.services
def test_browser_waits_six_times_at_once(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_contain_text("HTTP/1.1")
    page.get_by_role("link", name="Wait together").click()
    page.wait_for_load_state()
    page.get_by_role("button", name="Start six").click()
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text("12 seconds of waiting took", timeout=15_000)
    assert float(verdict.inner_text().split()[-2]) < 8


@pytest.mark.services
def test_browser_uploads_a_file(page: Page) -> None:
    page.get_by_role("link", name="Send a file").click()
    file = FilePayload(name="notes.txt", mimeType="text/plain", buffer=b"the sea")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Send it").click()
    expect(page.get_by_role("status")).to_have_text("notes.txt arrived safely.")
    expect(page.locator("#size")).to_have_text("7")
    expect(page.locator("#sha256")).to_have_text(hashlib.sha256(b"the sea").hexdigest())


@pytest.mark.services
def test_browser_shows_the_answer_grow_and_stops_it(page: Page, client: httpx.Client) -> None:
    before = stream_counts(client)
    page.get_by_role("link", name="Hear a story").click()
    page.wait_for_load_state()  # until its script has taken over the form, which else navigates
    page.get_by_role("button", name="Ask").click()
    shown = ""
    for _ in range(5):
        page.wait_for_function("shown => answer.textContent.length > shown", arg=len(shown))
        longer = page.locator("#answer").text_content() or ""
        assert longer.startswith(shown)
        shown = longer
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    after = before | {"abandoned": before["abandoned"] + 1}
    wait_until(lambda: stream_counts(client) == after)
    expect(page.locator("[data-count=abandoned]")).to_have_text(str(after["abandoned"]))
