"""Clients that others wrote, over TLS: what is agreed upon, what comes through, what is told."""

import asyncio
import hashlib
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets.sync.client
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from aserver.testing import serve
from tests.certificates import HELLO, Authority, Issued
from tests.h2_clients import H2Client
from tests.h2_ws_clients import H2WebSocket
from tests.processes import DEADLINE, Process, get, in_threads, read_all
from tests.tls_site import (
    ADDRESS,
    PIECE,
    app,
    ask_securely,
    curl,
    expected_digest,
    named,
    s_client,
    s_client_open,
    secured,
    serial_of,
    shown_serial,
)

MIB = 1 << 20
PIECES = 512  # 32 MiB
PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue(HELLO, ADDRESS)


@pytest.fixture(scope="module")
def server(issued: Issued) -> Iterator[serve]:
    """For what is the same in both event loops."""
    with serve(app, **issued.options) as server:
        yield server


@pytest.fixture
def in_each_loop(issued: Issued, loop_name: str) -> Iterator[serve]:
    with serve(app, loop=loop_name, **issued.options) as server:
        yield server


def address(server: serve) -> tuple[str, int]:
    return server.host, server.port


def told(authority: Authority, server: serve, **options: Any) -> dict[str, Any]:
    """What the application is told of a client's connection."""
    with httpx.Client(verify=authority.client(**options), base_url=server.url) as client:
        answer: dict[str, Any] = client.get("/scope").json()
        return answer


# Exchanges


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def client(
    in_each_loop: serve, authority: Authority, request: pytest.FixtureRequest
) -> Iterator[httpx.Client]:
    """httpx with each version, in each event loop."""
    is_http2 = request.param == "HTTP/2"
    with httpx.Client(
        base_url=in_each_loop.url, verify=authority.client(), http2=is_http2, trust_env=False
    ) as client:
        yield client
        assert client.get("/").http_version == request.param


def test_the_scope(client: httpx.Client, issued: Issued) -> None:
    for _ in range(2):
        answer = client.get("/scope")
        scope = answer.json()
        assert scope["type"] == "http"
        assert scope["scheme"] == "https"
        assert f"HTTP/{scope['http_version']}" == answer.http_version
        assert scope["server"] == [ADDRESS, client.base_url.port]
        tls = scope["tls"]
        assert tls["server_cert"].split() == issued.leaf.split()
        assert tls["tls_version"] == 0x0304
        assert tls["cipher_suite"] in (0x1301, 0x1302, 0x1303)
        assert tls["client_cert_chain"] == []
        assert tls["client_cert_name"] is None
        assert tls["client_cert_error"] is None
        assert len(tls) == 6


def test_large_bodies(client: httpx.Client) -> None:
    digest = client.post("/digest", content=(PIECE for _ in range(PIECES))).text
    assert digest == expected_digest(PIECES)
    found = hashlib.sha256()
    with client.stream("GET", f"/large?{PIECES}") as answer:
        for piece in answer.iter_raw():
            found.update(piece)
    assert found.hexdigest() == expected_digest(PIECES)


def test_files(client: httpx.Client, tmp_path: Path) -> None:
    """The kernel would send them as they are."""
    content = PIECE * 40
    (tmp_path / "file").write_bytes(content)
    name = named(tmp_path / "file")
    assert client.get(f"/path?{name}").content == content
    assert client.get(f"/descriptor?{name}").content == content[1000:101_000]


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 14])
def test_a_client_whose_records_are_small(
    in_each_loop: serve, authority: Authority, size: int
) -> None:
    body = PIECE[: size * 20]
    request = get("/digest").replace(b"GET", b"POST")[:-2]
    request += b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with secured(address(in_each_loop), authority.client()) as sock:
        for start in range(0, len(request), size):
            sock.sendall(request[start : start + size])
        assert read_all(sock).endswith(hashlib.sha256(body).hexdigest().encode())


def test_many_requests_in_one_connection(in_each_loop: serve, authority: Authority) -> None:
    connection = http.client.HTTPSConnection(
        *address(in_each_loop), timeout=DEADLINE, context=authority.client()
    )
    for _ in range(100):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello"
    connection.close()


def test_clients_that_wait_for_room(authority: Authority, issued: Issued, loop_name: str) -> None:
    """Their handshakes may have begun, as far as they are concerned."""
    answers: list[bytes] = []
    with serve(app, loop=loop_name, max_connections=2, **issued.options) as server:

        def ask() -> None:
            client = authority.client()
            answers.extend(ask_securely(address(server), client)[0][-5:] for _ in range(5))

        with in_threads(*[ask] * 8):
            pass
    assert answers == [b"hello"] * 40


def test_the_end_is_said(in_each_loop: serve, authority: Authority) -> None:
    """`secured` does not take a connection that was cut for one that has ended."""
    answer, _ = ask_securely(address(in_each_loop), authority.client())
    assert answer.endswith(b"hello")


def test_curl(server: serve, authority: Authority, tmp_path: Path) -> None:
    url = f"https://{HELLO}:{server.port}"
    (tmp_path / "body").write_bytes(PIECE * 100)
    expected = hashlib.sha256(PIECE * 100).hexdigest()
    for how, version in (("--http1.1", "1.1"), ("--http2", "2"), ("--no-alpn", "1.1")):
        told = ("--write-out", " %{http_version} %{ssl_verify_result}")
        assert curl(authority, server.port, how, *told, url) == (0, f"hello {version} 0")
        body = ("--data-binary", f"@{tmp_path}/body")
        assert curl(authority, server.port, how, *body, f"{url}/digest") == (0, expected)
        many = [f"{url}/"] * 5
        assert curl(authority, server.port, how, *many) == (0, "hello" * 5)


# What is agreed upon


@pytest.mark.parametrize(
    ("offered", "http2", "chosen"),
    [
        (("h2", "http/1.1"), True, "h2"),
        (("http/1.1",), True, "http/1.1"),
        (("http/1.0",), True, None),
        ((), True, None),
        (("h2", "http/1.1"), False, "http/1.1"),
        (("h2",), False, None),
    ],
)
def test_application_protocol(
    authority: Authority, issued: Issued, offered: tuple[str, ...], http2: bool, chosen: str | None
) -> None:
    with (
        serve(app, http2=http2, **issued.options) as server,
        secured(address(server), authority.client(alpn=offered)) as sock,
    ):
        assert sock.selected_alpn_protocol() == chosen
        if chosen == "h2":
            assert bytes(H2Client(sock).get("/").body) == b"hello"
        else:
            sock.sendall(get("/", "Connection: close"))
            assert read_all(sock).endswith(b"hello")


def test_without_http2(authority: Authority, issued: Issued) -> None:
    with (
        serve(app, http2=False, **issued.options) as server,
        httpx.Client(verify=authority.client(), http2=True) as client,
    ):
        assert client.get(server.url).http_version == "HTTP/1.1"
        url = f"https://{HELLO}:{server.port}/"
        assert curl(authority, server.port, "--http2", url) == (0, "hello")


def test_versions(server: serve, authority: Authority, issued: Issued) -> None:
    def version(port: int, highest: str) -> tuple[int, int | None]:
        url = f"https://{HELLO}:{port}/scope"
        code, output = curl(authority, port, "--tls-max", highest, "--tlsv1.0", url)
        return code, json.loads(output)["tls"]["tls_version"] if not code else None

    assert version(server.port, "1.3") == (0, 0x0304)
    assert version(server.port, "1.2") == (0, 0x0303)
    assert version(server.port, "1.1") == (35, None)  # curl: no handshake
    with serve(app, tls_min_version="1.3", **issued.options) as newest:
        assert version(newest.port, "1.3") == (0, 0x0304)
        assert version(newest.port, "1.2") == (35, None)


def test_ciphers(authority: Authority, issued: Issued) -> None:
    ciphers = {"ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C, "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B}
    client = authority.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    for wanted, number in ciphers.items():
        with serve(app, ciphers=wanted, **issued.options) as server:
            answer, _ = ask_securely(address(server), client, "/scope")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["tls"]["cipher_suite"] == number
            (other,) = ciphers.keys() - {wanted}
            url = f"https://{HELLO}:{server.port}/"
            code, _ = curl(authority, server.port, "--tls-max", "1.2", "--ciphers", other, url)
            assert code == 35


def test_the_clients_name_for_the_server_decides(authority: Authority, loop_name: str) -> None:
    first, second, wild = (
        authority.issue("one.test"),
        authority.issue("two.test"),
        authority.issue("*.three.test"),
    )
    pairs = (first, second, wild)
    client = authority.client()
    client.check_hostname = False
    with serve(
        app,
        loop=loop_name,
        certfile=[each.certificate for each in pairs],
        keyfile=[each.key for each in pairs],
    ) as server:
        for name, expected in {
            "one.test": first,
            "two.test": second,
            "TWO.test": second,
            "a.three.test": wild,
            "three.test": first,
            "unknown.test": first,
            None: first,
        }.items():
            with secured(address(server), client, name) as sock:
                assert shown_serial(sock) == serial_of(expected), name
                sock.sendall(get("/scope", "Connection: close"))
                scope = json.loads(read_all(sock).partition(b"\r\n\r\n")[2])
                assert scope["tls"]["server_cert"].split() == expected.leaf.split()


def test_the_chain_is_whole(server: serve, authority: Authority) -> None:
    """OpenSSL's own client knows the root only."""
    trusting = ("-CAfile", authority.file, "-verify_return_error", "-verify_hostname", HELLO)
    for version in ("-tls1_2", "-tls1_3"):
        output = s_client(
            server.port,
            *(*trusting, "-servername", HELLO, "-showcerts", version, "-ign_eof"),
            send=get("/", "Connection: close").decode(),
        )
        assert "Verify return code: 0 (ok)" in output
        assert output.count("-----BEGIN CERTIFICATE-----") >= 2
        assert output.count("hello") >= 1


def test_new_keys(in_each_loop: serve, authority: Authority) -> None:
    """RFC 8446 section 4.6.3: OpenSSL's client takes new ones (k), and asks for some (K)."""
    request = get("/").decode()
    trusting = ("-CAfile", authority.file)
    with s_client_open(in_each_loop.port, *trusting, "-tls1_3", "-msg") as client:
        for command in "kKK":
            client.say(command + "\n", ">>> TLS 1.3, Handshake [length 0005], KeyUpdate")
            heard = client.say(request, "hello")
            # OpenSSL does what it is asked for with the next bytes that it sends.
            assert ("<<< TLS 1.3, Handshake [length 0005], KeyUpdate" in heard) == (command == "K")
        client.say("Q\n", "DONE\n")


def test_old_keys_stay(in_each_loop: serve, authority: Authority) -> None:
    """TLS 1.2 has renegotiation in their place, which costs the server more than the client."""
    with s_client_open(in_each_loop.port, "-CAfile", authority.file, "-tls1_2") as client:
        client.say(get("/").decode(), "hello")
        client.say("R\n", "no renegotiation")
    assert httpx.get(in_each_loop.url, verify=authority.client()).text == "hello"


def test_a_password(authority: Authority, tmp_path: Path, loop_name: str) -> None:
    own = authority.issue(HELLO, directory=tmp_path)
    key = load_pem_private_key(Path(own.key).read_bytes(), None)
    encrypted = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD.encode())
    )
    Path(own.key).write_bytes(encrypted)
    with Process(
        "tests.tls_site:app",
        *("--loop", loop_name, "--certfile", own.certificate, "--keyfile", own.key),
        environ={"ASERVER_KEYFILE_PASSWORD": PASSWORD},
    ) as server:
        answer, serial = ask_securely(server.address, authority.client())
        assert answer.endswith(b"hello")
        assert serial == serial_of(own)
        assert PASSWORD not in server.stderr


# Certificates of clients


@pytest.fixture(scope="module")
def own(authority: Authority) -> Issued:
    """A client's."""
    return authority.issue("client.test")


@pytest.mark.parametrize("asked", ["none", "optional", "required"])
def test_client_certificates(
    authority: Authority, issued: Issued, own: Issued, loop_name: str, asked: str
) -> None:
    options: dict[str, Any] = dict(issued.options)
    if asked != "none":
        options.update(client_certs=asked, ca_certs=authority.file)
    with serve(app, loop=loop_name, **options) as server:
        with_certificate = told(authority, server, own=own)["tls"]
        if asked == "none":
            assert with_certificate["client_cert_chain"] == []
        else:
            assert with_certificate["client_cert_chain"][0].split() == own.leaf.split()
            assert "client.test" not in (with_certificate["client_cert_name"] or "")
            assert "OU=" in with_certificate["client_cert_name"]
            assert with_certificate["client_cert_error"] is None
        if asked == "required":
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                told(authority, server)
        else:
            assert told(authority, server)["tls"]["client_cert_chain"] == []


@pytest.mark.parametrize("asked", ["optional", "required"])
def test_a_client_certificate_of_somebody_else(
    issued: Issued, authority: Authority, tmp_path: Path, asked: str
) -> None:
    stranger = Authority(tmp_path).issue("client.test")
    with (
        serve(app, client_certs=asked, ca_certs=authority.file, **issued.options) as server,
        pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)),
    ):
        told(authority, server, own=stranger)


def check_client(scope: dict[str, Any], own: Issued) -> None:
    assert scope["scheme"] in ("https", "wss")
    tls = scope["tls"]
    assert tls["client_cert_chain"][0].split() == own.leaf.split()
    assert tls["client_cert_name"].startswith("OU=")
    assert tls["tls_version"] == 0x0304


def test_every_scope_has_the_clients_certificate(
    authority: Authority, issued: Issued, own: Issued
) -> None:
    """Both kinds, over both versions."""
    options = {"client_certs": "required", "ca_certs": authority.file, **issued.options}
    with serve(app, **options) as server:
        check_client(told(authority, server, own=own), own)
        with httpx.Client(verify=authority.client(own), http2=True) as client:
            answer = client.get(f"{server.url}/scope")
            assert answer.http_version == "HTTP/2"
            check_client(answer.json(), own)
        url = server.url.replace("https", "wss")
        with websockets.sync.client.connect(url, ssl=authority.client(own), proxy=None) as socket:
            scope = json.loads(socket.recv(DEADLINE))
            assert (scope["type"], scope["scheme"]) == ("websocket", "wss")
            check_client(scope, own)
        with secured(address(server), authority.client(own, alpn=("h2",))) as sock:
            tunnel = H2WebSocket(H2Client(sock), "/")
            scope = json.loads(tunnel.message())
            assert (scope["type"], scope["scheme"]) == ("websocket", "wss")
            assert scope["http_version"] == "2"
            check_client(scope, own)


# WebSockets


@pytest.mark.parametrize("compression", ["deflate", None])
def test_websocket(in_each_loop: serve, authority: Authority, compression: str | None) -> None:
    url = in_each_loop.url.replace("https", "wss")
    with websockets.sync.client.connect(
        url, ssl=authority.client(), proxy=None, compression=compression, max_size=2 * MIB
    ) as socket:
        assert json.loads(socket.recv(DEADLINE))["tls"]["tls_version"] == 0x0304
        for message in ("text", b"bytes", "", PIECE * 16):
            socket.send(message)
            assert socket.recv(DEADLINE) == message


def test_websockets_in_a_loop(in_each_loop: serve, authority: Authority) -> None:
    url = in_each_loop.url.replace("https", "wss")

    async def talk(number: int) -> None:
        async with websockets.connect(url, ssl=authority.client(), proxy=None) as socket:
            await socket.recv()
            for _ in range(10):
                await socket.send(f"{number}")
                assert await socket.recv() == f"{number}"

    async def all_of_them() -> None:
        await asyncio.gather(*map(talk, range(10)))

    asyncio.run(all_of_them())


# Beside TLS


def test_cleartext_on_the_port_of_tls(in_each_loop: serve, authority: Authority) -> None:
    url = f"http://{ADDRESS}:{in_each_loop.port}/"
    told = ("--write-out", "%{http_code}")
    for how in ("--http1.1", "--http2-prior-knowledge"):
        code, output = curl(authority, in_each_loop.port, how, *told, url)
        if how == "--http1.1":
            assert (code, output) == (0, "this port speaks TLS: use https://\n400")
        else:
            assert code != 0
    answer = httpx.post(url, content=b"x" * 100)
    assert (answer.status_code, answer.text) == (400, "this port speaks TLS: use https://\n")
    assert httpx.get(in_each_loop.url, verify=authority.client()).text == "hello"


def test_plain_addresses_and_redirects_beside_tls(
    authority: Authority, issued: Issued, loop_name: str, tmp_path: Path
) -> None:
    other = authority.issue(HELLO, ADDRESS)
    endpoint = f"ssl:0:interface={ADDRESS}:privateKey={other.key}:certKey={other.certificate}"
    with serve(
        app,
        loop=loop_name,
        port=0,
        unix_socket=str(tmp_path / "socket"),
        endpoint=endpoint,
        insecure_bind=f"{ADDRESS}:0",
        redirect_bind=f"{ADDRESS}:0",
        **issued.options,
    ) as server:
        tls, unix, ssl_endpoint, plain, redirect = server.server.listeners
        for listener, serial in ((tls, issued), (ssl_endpoint, other)):
            assert listener.port is not None
            answer, shown = ask_securely((ADDRESS, listener.port), authority.client())
            assert answer.endswith(b"hello")
            assert shown == serial_of(serial)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "socket"))) as client:
            scope = client.get("http://a/scope").json()
            assert (scope["scheme"], scope["tls"]) == ("http", None)
        assert str(unix).startswith("unix:")
        scope = httpx.get(f"{plain}/scope").json()
        assert (scope["scheme"], scope["tls"]) == ("http", None)
        url = f"http://{ADDRESS}:{redirect.port}/scope?a=b"
        with httpx.Client(verify=authority.client(), follow_redirects=True) as client:
            answer_ = client.get(url)
            assert answer_.json()["scheme"] == "https"
            assert answer_.url == f"https://{ADDRESS}:{tls.port}/scope?a=b"


def test_an_endpoint_of_daphne(authority: Authority, issued: Issued, loop_name: str) -> None:
    endpoint = f"ssl:0:interface={ADDRESS}:privateKey={issued.key}:certKey={issued.certificate}"
    with Process("tests.tls_site:app", "-e", endpoint, "--loop", loop_name) as server:
        server.wait_for("Listening on https://")
        (url,) = (url for url in server.urls if url.startswith("https://"))
        port = int(url.rpartition(":")[2])
        answer, serial = ask_securely((ADDRESS, port), authority.client())
        assert answer.endswith(b"hello")
        assert serial == serial_of(issued)


# `aserver.testing`


def test_serve_in_the_running_loop(authority: Authority, issued: Issued) -> None:
    async def ask() -> str:
        async with (
            serve(app, **issued.options) as server,
            httpx.AsyncClient(verify=authority.client(), http2=True) as client,
        ):
            answer = await client.get(server.url)
            assert answer.http_version == "HTTP/2"
            return answer.text

    assert asyncio.run(ask()) == "hello"
