"""Workers behind a proxy that begins each connection with a PROXY header, and as another user."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httptools
import pytest

import aserver
from tests.gunicorn.processes import WORKER, Gunicorn, facts_in
from tests.processes import DEADLINE, get, read_all, wait_until

NOBODY = 65_534
V1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 5555 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + socket.inet_aton("203.0.113.9")
    + socket.inet_aton("192.0.2.1")
    + b"\x15\xb3\x01\xbb"
)


def why_not_nobody() -> str:
    """Why workers cannot be another user's here; empty if they can."""
    if os.getuid() != 0:
        return "only root may become another user"
    # The standard library may be out of reach: what is needed of it, the arbiter has imported.
    for file in (aserver.__file__, httptools.__file__):
        if not all(path.stat().st_mode & stat.S_IXOTH for path in Path(file).parents):
            return f"another user cannot read {file}"
    return ""


@pytest.fixture(scope="module")
def hindrance() -> str:
    return why_not_nobody()


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory, hindrance: str) -> Iterator[Gunicorn]:
    """One worker; where that can be, it is not root's, and could not open the log by its path."""
    folder = tmp_path_factory.mktemp("gunicorn")
    folder.chmod(0o700)
    options = ["-k", WORKER, "--proxy-protocol", "--access-logfile", f"{folder}/access.log"]
    if not hindrance:
        options += ["--user", str(NOBODY), "--group", str(NOBODY)]
    with Gunicorn(folder, "tests.gunicorn.site:app", *options) as it:
        it.wait_for("note: post_worker_init")
        yield it


def asked(gunicorn: Gunicorn, header: bytes, source: str = "127.0.0.1") -> bytes:
    """What comes back from a connection with this header, from a proxy at this address."""
    address = ("127.0.0.1", gunicorn.port)
    request = header + get("/facts", "Connection: close")
    with socket.create_connection(address, DEADLINE, (source, 0)) as sock:
        sock.sendall(request)
        return read_all(sock)


@pytest.mark.parametrize("header", [V1, V2])
def test_proxy_header(gunicorn: Gunicorn, header: bytes) -> None:
    assert facts_in(asked(gunicorn, header))["client"] == ["203.0.113.9", 5555]


def test_who_is_no_trusted_proxy_is_not_served(gunicorn: Gunicorn) -> None:
    with pytest.raises(ConnectionResetError):
        asked(gunicorn, V1, source="127.0.0.2")
    gunicorn.wait_for("which is no trusted proxy")


def test_access_log_of_the_client(gunicorn: Gunicorn) -> None:
    asked(gunicorn, V2)
    log = gunicorn.folder / "access.log"
    wait_until(lambda: '"GET /facts HTTP/1.1" 200' in log.read_text())
    assert log.read_text().startswith("203.0.113.9 - - [")


def test_user_and_group(gunicorn: Gunicorn, hindrance: str) -> None:
    if hindrance:
        pytest.skip(hindrance)
    assert facts_in(asked(gunicorn, V1))["ids"] == [NOBODY, NOBODY]
    assert (gunicorn.folder / "access.log").stat().st_uid == NOBODY
