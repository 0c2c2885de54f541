"""`manage.py runserver`, as a process: what it serves, says and does when the code changes."""

import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from aserver import __version__
from tests.certificates import Authority
from tests.django.projects import Runserver, make_project
from tests.processes import DEADLINE, run_python


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def served(project: Path) -> Iterator[Runserver]:
    """One that nothing changes, without the autoreloader, that says less than it could."""
    options = ("--noreload", "--access-log-exclude", "/quiet*", "--http_timeout", "30")
    with Runserver(project, *options, environ={"LC_ALL": "C"}) as server:
        yield server
        server.interrupt()
        assert server.exit_code() == 0
        assert "KeyboardInterrupt" not in server.stderr


def websocket_url(url: str) -> str:
    return url.replace("http", "ws", 1)


def test_it_says_what_it_is_as_django_does(served: Runserver) -> None:
    url = served.url
    banner = (
        r"Performing system checks\.\.\.\n\nSystem check identified no issues \(0 silenced\)\.\n"
        r"\w+ \d\d, \d{4} - \d\d:\d\d:\d\d\n"
        r"Django version [\d.]+, using settings 'mysite\.settings'\n"
        rf"Starting ASGI/aserver version {re.escape(__version__)} development server at {url}/\n"
        r"Quit the server with CONTROL-C\.\n"
    )
    served.wait_for("CONTROL-C.\n")
    assert re.fullmatch(banner, served.stdout)
    assert url.startswith("http://127.0.0.1:")
    assert "Listening" not in served.stderr


def test_it_serves_asgi(served: Runserver) -> None:
    assert httpx.get(served.url).text == "one http ASGIRequest"


@pytest.mark.parametrize(
    ("path", "status"), [("/?a=%0a", 200), ("/nothing", 404), ("/broken/", 500)]
)
def test_a_request_has_a_line(served: Runserver, path: str, status: int) -> None:
    with httpx.Client() as client:
        assert client.get(served.url + path).status_code == status
    served.wait_for(f" HTTP GET {path} {status} [")
    line = rf"^\[\d\d/\w+/\d{{4}} [\d:]{{8}}\] HTTP GET {re.escape(path)} {status} "
    assert re.search(line + r"\[\d\.\d\d, 127\.0\.0\.1:\d+\]$", served.stderr, re.MULTILINE)
    assert served.stderr.count(f"HTTP GET {path} ") == 1


def test_a_path_may_have_no_lines(served: Runserver) -> None:
    httpx.get(f"{served.url}/quiet/a")
    httpx.get(f"{served.url}/loud/a")
    served.wait_for("HTTP GET /loud/a")
    assert "HTTP GET /quiet" not in served.stderr


def test_websockets_have_lines(served: Runserver) -> None:
    url = websocket_url(served.url)
    with connect(f"{url}/echo/?a=b") as socket:
        socket.send("hello")
        assert socket.recv() == "hello"
    with pytest.raises(InvalidStatus):
        connect(f"{url}/no/")
    served.wait_for("WebSocket DISCONNECT /no/ [127.0.0.1:")
    lines = re.findall(r"WebSocket (\w+ \S+) \[127\.0\.0\.1:\d+\]\n", served.stderr)
    assert lines == [
        "HANDSHAKING /echo/",
        "CONNECT /echo/",
        "DISCONNECT /echo/",
        "HANDSHAKING /no/",
        "REJECT /no/",
        "DISCONNECT /no/",
    ]


def test_static_files(served: Runserver) -> None:
    url = f"{served.url}/static/style.css"
    response = httpx.get(url)
    assert (response.status_code, response.text) == (200, "body { color: teal }\n")
    assert response.headers["content-type"] == "text/css"
    head = httpx.head(url)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "21", b"")
    since = {"if-modified-since": response.headers["last-modified"]}
    unchanged = httpx.get(url, headers=since)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    # Django's view does not know ranges: the whole file is a right answer (RFC 9110 section 14.2).
    part = httpx.get(url, headers={"range": "bytes=0-3"})
    assert (part.status_code, part.text) == (200, response.text)
    assert httpx.get(f"{served.url}/static/../mysite/settings.py").status_code == 404
    assert httpx.get(f"{served.url}/static/none.css").status_code == 404


# Django's reloader does not notice what changes between a module's import and its own first look.
WATCHED = """
LOGGING = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {
        "django.utils.autoreload": {"handlers": ["console"], "level": "DEBUG", "propagate": False}
    },
}
"""


SLOW = """
import time
print("It takes its time.", flush=True)
time.sleep(60)
"""


def change(server: Runserver, path: Path, old: str, new: str, starts: int) -> None:
    """Change a file, once it is watched by the process that was started so and so often."""

    def is_watched() -> bool:
        processes = server.stderr.split("Watching for file changes")[1:]
        return len(processes) == starts and f"File {path} first seen" in processes[-1]

    server.wait_until(is_watched)
    path.write_text(path.read_text().replace(old, new))


def test_changed_code_is_served_soon_whoever_listens(tmp_path: Path) -> None:
    project = make_project(tmp_path, WATCHED)
    urls, asgi = project / "mysite" / "urls.py", project / "mysite" / "asgi.py"
    with Runserver(project) as server:
        old = server.url
        assert httpx.get(old).text == "one http ASGIRequest"
        with (
            httpx.stream("GET", f"{old}/numbers/") as stream,
            connect(f"{websocket_url(old)}/echo/") as socket,
        ):
            next(stream.iter_raw())
            change(server, urls, '"one"', '"second"', 1)
            changed = time.monotonic()
            server.wait_until(lambda: len(server.urls) == 2)
            assert httpx.get(server.url).text == "second http ASGIRequest"
            # Two seconds are the goal; the machine may be doing other things.
            assert time.monotonic() - changed < 8
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(DEADLINE)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert "Cancelling" not in server.stderr
        assert "never retrieved" not in server.stderr

        # Broken code is shown, and watched; it is not imported, so it is seen by its traceback.
        change(server, asgi, "import os", "import os, nothing_of_that_name", 2)
        server.wait_for("No module named 'nothing_of_that_name'")
        change(server, asgi, ", nothing_of_that_name", "", 3)
        server.wait_until(lambda: len(server.urls) == 3)
        assert httpx.get(server.url).status_code == 200

        server.interrupt()
        assert server.exit_code() == 0
        assert "KeyboardInterrupt" not in server.stderr


def test_mistakes_are_waited_for(tmp_path: Path) -> None:
    """They are as many as there are processes that tell one, and then there is one that serves."""
    wrong = 'ASERVER = {"certfile": "/nowhere/a.pem"}\nASGI_APPLICATION = "mysite.asgi.app"'
    project = make_project(tmp_path, f"{WATCHED}\n{wrong}")
    asgi, settings = project / "mysite" / "asgi.py", project / "mysite" / "settings.py"
    asgi.write_text(f"raise SystemExit(3)\n{asgi.read_text()}")
    with Runserver(project) as server:
        server.wait_for("cannot import 'mysite.asgi:app': SystemExit: 3")
        change(server, asgi, "raise SystemExit(3)", "", 1)
        server.wait_for("Error: ASGI_APPLICATION = 'mysite.asgi.app': cannot import ")
        change(server, settings, "mysite.asgi.app", "mysite.asgi.application", 2)
        server.wait_for("Error: --certfile: ")
        assert server.stderr.count("Exception in thread") == 1
        change(server, settings, '"certfile": "/nowhere/a.pem"', "", 3)
        assert httpx.get(server.url).status_code == 200
        server.interrupt()
        assert server.exit_code() == 0


@pytest.mark.parametrize("module", ["asgi", "urls"])
def test_ctrl_c_during_the_start(tmp_path: Path, module: str) -> None:
    """While the application is imported, or the project is checked."""
    path = make_project(tmp_path) / "mysite" / f"{module}.py"
    path.write_text(f"{SLOW}\n{path.read_text()}")
    with Runserver(tmp_path, "--noreload") as server:
        server.wait_for("It takes its time.")
        server.interrupt()
        assert server.exit_code() == 0
        assert server.stderr == ""


def test_noasgi_is_djangos_own_server(project: Path) -> None:
    with Runserver(project, "--noasgi", "--noreload", "--nothreading") as server:
        server.wait_for("Quit the server with CONTROL-C.")
        url = re.findall(r"Starting development server at (\S+)/", server.stdout)[0]
        assert httpx.get(url).text == "one http WSGIRequest"
        assert httpx.get(f"{url}/static/style.css").status_code == 200


def test_https_and_static_files_without_debug(tmp_path: Path, authority: Authority) -> None:
    project = make_project(tmp_path, 'DEBUG = False\nASERVER = {"server_name": "mine"}')
    issued = authority.issue("localhost")
    files = ("--certfile", issued.certificate, "--keyfile", issued.key)
    with Runserver(project, "localhost:0", "--noreload", "--insecure", *files) as server:
        assert server.url.startswith("https://localhost:")
        trusting = ssl.create_default_context(cafile=authority.file)
        with httpx.Client(verify=trusting, http2=True) as client:
            response = client.get(server.url)
            assert response.text == "one https ASGIRequest"
            assert response.http_version == "HTTP/2"
            assert response.headers["server"] == "mine"
            assert client.get(f"{server.url}/static/style.css").status_code == 200
        server.wait_for("HTTP GET /static/style.css 200")


def test_a_busy_port(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        for options in ([], ["--noreload"]):
            with Runserver(project, address, *options) as server:
                assert server.exit_code() == 1
                line = f"Error: cannot listen on {address}: Address already in use\n"
                assert server.stderr.endswith(line)
                assert "Traceback" not in server.stderr


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ("del ASGI_APPLICATION", [], "The setting ASGI_APPLICATION is missing."),
        ('ASERVER = {"port": 1}', [], "ASERVER: 'port' has no place here:"),
        (
            'ASGI_APPLICATION = "mysite.asgi.app"',
            ["--noreload"],
            "ASGI_APPLICATION = 'mysite.asgi.app': cannot import 'mysite.asgi:app': "
            "'mysite.asgi' has no 'app'",
        ),
        ("", ["127.0.0.1:65536"], "'65536' is not a valid port number."),
        ("", ["--keep-alive", "x"], "--keep-alive: 'x' is not a number"),
        ("", ["--access-log", "-"], "--access-log has no place here: the setting LOGGING says"),
        ("", ["--noasgi", "--certfile", "x"], "--certfile: Django's own server (--noasgi)"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, settings: str, options: list[str], message: str
) -> None:
    with Runserver(make_project(tmp_path, settings), *options) as server:
        assert server.exit_code() == 1
        assert server.stderr.startswith(f"CommandError: {message}")
        assert server.stderr.count("\n") == 1


CALLING = """
import os
import signal

import django
from django.core.management import call_command

os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
django.setup()


class Output:
    def write(self, text):
        print(text, end="")
        if "CONTROL-C" in text:
            signal.raise_signal(signal.SIGINT)

    def flush(self):
        pass


options = {"http_timeout": 5, "certfile": None, "proxy_headers": True}
command = {"use_reloader": False, "shutdown_message": "Over.", "stdout": Output()}
call_command("runserver", "0", **options, **command)
print("going on")
"""


def test_called_by_code(project: Path) -> None:
    """As by `manage.py testserver`, or a command of the project's."""
    (project / "called.py").write_text(CALLING)
    code, output = run_python("called.py", cwd=project)
    assert code == 0, output
    assert output.endswith("Over.\ngoing on\n")
