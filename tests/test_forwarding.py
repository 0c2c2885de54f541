"""What a scope says of a client whom proxies speak for: theirs, and never the client's own word."""

import logging
from typing import Any

import pytest

from aserver.declarations import ConfigError
from aserver.forwarding import Forwarding
from aserver.proxy_options import FIELDS, Proxy
from aserver.types import Address

NGINX = ("127.0.0.1", 5000)
STRANGER = ("203.0.113.66", 6666)


def scope_of(*fields: tuple[str, str], **values: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "scheme": "http",
        "path": "/page",
        "raw_path": b"/page",
        "root_path": "",
        "client": NGINX,
        "headers": [
            (b"host", b"inner"),
            *((name.encode(), value.encode("latin-1")) for name, value in fields),
        ],
        **values,
    }


def seen(*fields: tuple[str, str], peer: Address | None = NGINX, **options: Any) -> dict[str, Any]:
    """What the scope says, as far as it was changed."""
    scope = scope_of(*fields, client=peer)
    before = scope.copy()
    amend = Forwarding(Proxy(proxy_headers=True, **options)).of(peer)
    if amend is not None:
        amend(scope)
    return {key: value for key, value in scope.items() if value != before[key]}


EVERYTHING: dict[str, Any] = {"proxy_headers_trust": FIELDS}
CHAIN: dict[str, Any] = {**EVERYTHING, "forwarded_allow_ips": ("127.0.0.1", "10.0.0.0/8", "unix")}


def test_the_usual_proxy() -> None:
    assert seen(("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")) == {
        "client": ("192.0.2.1", 0),
        "scheme": "https",
    }


def test_without_headers_nothing_is_changed() -> None:
    assert seen() == {}
    assert seen(("x-real-ip", "192.0.2.1"), ("forwarded", "for=192.0.2.1")) == {}


def test_by_default_it_is_what_daphne_believes() -> None:
    """A proxy that is set up for it sets these; the others, it may pass on from anybody."""
    fields = [
        ("x-forwarded-host", "evil"),
        ("x-forwarded-prefix", "/evil"),
        ("daphne-root-path", "/evil"),
        ("forwarded", "for=192.0.2.66;proto=https;host=evil"),
    ]
    assert seen(*fields) == {}


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["192.0.2.1"], "192.0.2.1"),
        (["192.0.2.66, 192.0.2.1"], "192.0.2.1"),
        (["192.0.2.66", "192.0.2.1"], "192.0.2.1"),
        (["127.0.0.1, 192.0.2.1"], "192.0.2.1"),
        (["unknown, 192.0.2.1"], "192.0.2.1"),
        (["192.0.2.66, 192.0.2.1, 10.0.0.7"], "192.0.2.1"),
        (["192.0.2.66, 192.0.2.1, 10.0.0.7, 10.0.0.8"], "192.0.2.1"),
        (["192.0.2.66, 192.0.2.1", "10.0.0.7", "unix:"], "192.0.2.1"),
        (["192.0.2.66, 2001:db8::1, 10.0.0.7"], "2001:db8::1"),
        # All of them are trusted: the first has begun.
        (["10.0.0.9, 10.0.0.7"], "10.0.0.9"),
        # What is no address says nothing; the last that is one is the nearest that is known.
        (["192.0.2.66, garbage, 10.0.0.7"], "10.0.0.7"),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        # One of IPv4 is the same, however it is written.
        (["192.0.2.66, ::ffff:192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, ::ffff:10.0.0.7"], "192.0.2.1"),
    ],
)
def test_from_the_right_to_the_first_that_is_not_trusted(lines: list[str], client: str) -> None:
    found = seen(*(("x-forwarded-for", line) for line in lines), **CHAIN)
    assert found["client"][0] == client


@pytest.mark.parametrize("line", ["unknown", "192.0.2.66, unknown", "", ",", "192.0.2.66, _x"])
def test_a_client_without_an_address_is_the_proxy(line: str) -> None:
    assert seen(("x-forwarded-for", line)) == {}
    assert seen(("x-forwarded-for", line), peer=None) == {}


@pytest.mark.parametrize(
    ("allowed", "client"),
    [
        # Any peer is a proxy: what it has put to the list is the last of it.
        (("*",), "10.0.0.7"),
        (("*", "10.0.0.0/8"), "192.0.2.1"),
        # Whoever is in the list is one, too: the first has begun, or says so.
        (("0.0.0.0/0",), "192.0.2.66"),
    ],
)
def test_any_peer_and_any_address_are_not_the_same(allowed: tuple[str, ...], client: str) -> None:
    fields = [
        ("x-forwarded-for", "192.0.2.66, 192.0.2.1, 10.0.0.7"),
        ("x-forwarded-proto", "https, http, http"),
    ]
    found = seen(*fields, peer=STRANGER, forwarded_allow_ips=allowed)
    assert found["client"] == (client, 0)
    assert ("scheme" in found) is (client == "192.0.2.66")


def test_ports() -> None:
    one = ("x-forwarded-for", "192.0.2.1")
    assert seen(one, ("x-forwarded-port", "80"))["client"] == ("192.0.2.1", 80)
    assert seen(one, ("x-forwarded-port", "http"))["client"] == ("192.0.2.1", 0)
    own = ("x-forwarded-for", "192.0.2.1:4711")
    assert seen(own, ("x-forwarded-port", "80"))["client"] == ("192.0.2.1", 4711)
    assert seen(("x-forwarded-port", "80")) == {}


def test_a_port_is_that_of_its_address() -> None:
    ports = ("x-forwarded-port", "4711, 5555")
    found = seen(("x-forwarded-for", "unknown, 10.0.0.7"), ports, **CHAIN)
    assert found["client"] == ("10.0.0.7", 5555)
    assert seen(("x-forwarded-for", "unknown, unknown"), ports, **CHAIN) == {}


@pytest.mark.parametrize("lines", [["80, 4711"], ["80", "4711"]])
def test_of_several_ports_that_of_one_proxy_is_the_last(lines: list[str]) -> None:
    ports = [("x-forwarded-port", line) for line in lines]
    assert seen(("x-forwarded-for", "192.0.2.1"), *ports)["client"] == ("192.0.2.1", 4711)


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        *(("https", "https"), ("HTTPS", "https"), ("wss", "https"), ("http", "http")),
        *(("ws", "http"), ("ftp", "http"), ("", "http"), ("javascript", "http")),
    ],
)
def test_schemes(text: str, scheme: str) -> None:
    assert seen(("x-forwarded-proto", text)).get("scheme", "http") == scheme


def test_a_websocket_has_schemes_of_its_own() -> None:
    amend = Forwarding(Proxy(proxy_headers=True)).of(NGINX)
    assert amend is not None
    for text, scheme in (("https", "wss"), ("http", "ws"), ("wss", "wss"), ("none", "ws")):
        scope = scope_of(("x-forwarded-proto", text), type="websocket", scheme="ws")
        amend(scope)
        assert scope["scheme"] == scheme


def test_what_a_proxy_has_said_stands_in_one_place() -> None:
    """The outer proxy was called with https by 192.0.2.1, the inner one with http."""
    fields = [
        ("x-forwarded-for", "192.0.2.66, 192.0.2.1, 10.0.0.7"),
        ("x-forwarded-proto", "ftp, https, http"),
        ("x-forwarded-host", "evil, example.org, 10.0.0.8"),
        ("x-forwarded-port", "1, 4711, 80"),
    ]
    found = seen(*fields, **CHAIN)
    assert found["client"] == ("192.0.2.1", 4711)
    assert found["scheme"] == "https"
    assert found["headers"][0] == (b"host", b"example.org")


def test_lists_may_be_shorter() -> None:
    """The outer proxy says it, and the inner one passes it on."""
    fields = [
        ("x-forwarded-for", "192.0.2.1, 10.0.0.7, 10.0.0.8"),
        ("x-forwarded-proto", "https"),
    ]
    assert seen(*fields, **CHAIN)["scheme"] == "https"


@pytest.mark.parametrize("addresses", [[], [("x-forwarded-for", "")], [("x-forwarded-for", " , ")]])
def test_without_an_address_only_the_nearest_proxy_has_said_anything(
    addresses: list[tuple[str, str]],
) -> None:
    """Whatever stands to the left of its items may be the client's own."""
    fields = [
        *addresses,
        ("x-forwarded-proto", "https, http"),
        ("x-forwarded-host", "evil, example.org"),
        ("x-forwarded-port", "1, 4711"),
        ("x-forwarded-prefix", "/evil, /app"),
    ]
    for peer in (NGINX, None):
        found = seen(*fields, peer=peer, **CHAIN)
        assert found.pop("headers")[0] == (b"host", b"example.org")
        assert found == {"root_path": "/app", "path": "/app/page"}
    safe = [*addresses, ("x-forwarded-proto", "http, https")]
    assert seen(*safe, **CHAIN) == {"scheme": "https"}


@pytest.mark.parametrize("client", ["", "for=192.0.2.66;"])
def test_without_an_address_it_is_so_in_forwarded(client: str) -> None:
    """Whether the proxy says nothing of the client, or nobody would believe it."""
    field = ("forwarded", f"{client}proto=https;host=evil, proto=http;host=example.org")
    options = {**CHAIN, "proxy_headers_kind": "forwarded"}
    for trust in (FIELDS, ("proto", "host")):
        found = seen(field, **{**options, "proxy_headers_trust": trust})
        assert found.keys() == {"headers"}
        assert found["headers"][0] == (b"host", b"example.org")


def test_of_a_long_list_only_the_last_hundred_count() -> None:
    """Though everybody is trusted, so that the first has begun."""
    hosts = [f"10.0.0.{number}" for number in range(150)]
    fields = [
        ("x-forwarded-for", ", ".join(hosts)),
        (
            "x-forwarded-proto",
            ", ".join("https" if host == hosts[50] else "http" for host in hosts),
        ),
    ]
    found = seen(*fields, forwarded_allow_ips=("0.0.0.0/0",))
    assert found == {"client": (hosts[50], 0), "scheme": "https"}
    short = ("x-forwarded-for", ", ".join(hosts[:100]))
    assert seen(short, forwarded_allow_ips=("0.0.0.0/0",))["client"] == (hosts[0], 0)


@pytest.mark.parametrize(
    ("field", "lines"),
    [
        ("x-forwarded-for", ["192.0.2.66", ""]),
        ("x-forwarded-for", ["192.0.2.66, 192.0.2.67", " ", ""]),
        ("x-forwarded-host", ["evil.example", ""]),
        ("x-forwarded-proto", ["https", " "]),
        ("x-forwarded-prefix", ["/evil", ""]),
        ("forwarded", ["for=192.0.2.66;proto=https;host=evil.example", ""]),
        ("forwarded", ["for=192.0.2.66;proto=https;host=evil.example", ";"]),
    ],
)
def test_a_proxy_that_adds_nothing_does_not_give_its_place_to_the_client(
    field: str, lines: list[str]
) -> None:
    options: dict[str, Any] = dict(EVERYTHING)
    if field == "forwarded":
        options = {"proxy_headers_kind": "forwarded"}
    assert seen(*((field, line) for line in lines), **options) == {}
    assert seen((field, ",".join(lines)), **options) == {}
    before = seen(*((field, line) for line in reversed(lines)), **options)
    assert before != {}, "what stands in front of the proxy's own word changes nothing"


@pytest.mark.parametrize("blank", ["\xa0", "\x85", "\x0c"])
def test_only_spaces_and_tabs_are_white_space(blank: str) -> None:
    for field, value in {
        "x-forwarded-for": "192.0.2.1",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "example.org",
    }.items():
        assert seen((field, f" \t{value}\t "), **EVERYTHING) != {}
        assert seen((field, f"{blank}{value}{blank}"), **EVERYTHING) == {}


def test_the_host_is_the_host_header() -> None:
    scope = scope_of(("x-forwarded-host", "example.org:8443"), ("accept", "a"))
    amend = Forwarding(Proxy(proxy_headers=True, **EVERYTHING)).of(NGINX)
    assert amend is not None
    headers = scope["headers"].copy()
    amend(scope)
    assert scope["headers"] == [(b"host", b"example.org:8443"), *headers[1:]]


@pytest.mark.parametrize("host", ["", "a b", "a/b", "[::1", "a,", "ü"])
def test_what_is_no_host_is_not_taken(host: str) -> None:
    found = seen(("x-forwarded-host", host), **EVERYTHING)
    assert found.get("headers", [(b"host", b"inner")])[0] in {(b"host", b"inner"), (b"host", b"a")}


def test_a_prefix_belongs_to_the_path() -> None:
    """ASGI: the path has the root_path. raw_path is what was received."""
    assert seen(("x-forwarded-prefix", "/app/"), **EVERYTHING) == {
        "path": "/app/page",
        "root_path": "/app",
    }
    assert seen(("x-forwarded-prefix", "/"), **EVERYTHING) == {}
    assert seen(("x-forwarded-prefix", "/a%20b"), **EVERYTHING)["path"] == "/a b/page"


@pytest.mark.parametrize("prefix", ["/caf%C3%A9", "/caf\xc3\xa9"])
def test_a_prefix_is_utf8_with_and_without_percent_signs(prefix: str) -> None:
    assert seen(("x-forwarded-prefix", prefix), **EVERYTHING)["path"] == "/caf\xe9/page"
    assert seen(("daphne-root-path", prefix), **EVERYTHING)["root_path"] == "/caf\xe9"


@pytest.mark.parametrize("prefix", ["/caf%E9", "/caf\xe9"])
def test_a_prefix_that_is_no_utf8_is_as_such_a_path(prefix: str) -> None:
    assert seen(("x-forwarded-prefix", prefix), **EVERYTHING)["path"] == "/caf\ufffd/page"


def test_a_prefix_stands_in_front_of_the_root_path() -> None:
    scope = scope_of(("x-forwarded-prefix", "/app"), root_path="/mount", path="/mount/page")
    amend = Forwarding(Proxy(proxy_headers=True, **EVERYTHING)).of(NGINX)
    assert amend is not None
    amend(scope)
    assert (scope["root_path"], scope["path"]) == ("/app/mount", "/app/mount/page")


def test_each_trusted_proxy_may_take_off_a_prefix() -> None:
    fields = [
        ("x-forwarded-for", "192.0.2.66, 192.0.2.1, 10.0.0.7"),
        ("x-forwarded-prefix", "/evil, /outer, /inner"),
    ]
    assert seen(*fields, **CHAIN)["root_path"] == "/outer/inner"


@pytest.mark.parametrize(
    "prefix",
    [
        *("app", "//evil.example", "/%2Fevil", "/\\evil.example", "/%5Cevil", "/a?b", "/a#b"),
        *("/a%0Ab", "/a%7Fb", "/..", "/%2E%2e/x", "/a/../..", "/./b", "/a/."),
    ],
)
def test_what_is_no_prefix_is_not_taken(prefix: str) -> None:
    assert seen(("x-forwarded-prefix", prefix), **EVERYTHING) == {}
    found = seen(("daphne-root-path", prefix), **EVERYTHING)
    assert found.keys() == {"headers"}


@pytest.mark.parametrize("prefix", ["/.well-known", "/a..", "/...", "/a//b", "/a,b"])
def test_what_is_an_unusual_one_is(prefix: str) -> None:
    assert seen(("daphne-root-path", prefix), **EVERYTHING)["root_path"] == prefix


def test_the_target_of_options_has_no_prefix() -> None:
    scope = scope_of(("x-forwarded-prefix", "/app"), path="*")
    amend = Forwarding(Proxy(proxy_headers=True, **EVERYTHING)).of(NGINX)
    assert amend is not None
    amend(scope)
    assert (scope["root_path"], scope["path"]) == ("/app", "*")


def test_daphnes_root_path() -> None:
    """Decoded, and the application sees nothing of the header; the path stays."""
    found = seen(("daphne-root-path", "/foo%20bar"), **EVERYTHING)
    assert found == {"root_path": "/foo bar", "headers": [(b"host", b"inner")]}


def test_forwarded() -> None:
    options = {"proxy_headers_kind": "forwarded", **CHAIN}
    field = (
        "forwarded",
        'for=192.0.2.66;proto=ftp;host=evil, for="[2001:db8::1]:47";proto=https;host=example.org,'
        "for=10.0.0.7;proto=http;host=inner2",
    )
    assert seen(field, ("x-forwarded-for", "192.0.2.99"), **options) == {
        "client": ("2001:db8::1", 47),
        "scheme": "https",
        "headers": [
            (b"host", b"example.org"),
            (b"forwarded", field[1].encode()),
            (b"x-forwarded-for", b"192.0.2.99"),
        ],
    }


def test_a_client_that_a_proxy_hides_has_its_scheme_still() -> None:
    options = {"proxy_headers_kind": "forwarded", **CHAIN}
    assert seen(("forwarded", "for=_hidden;proto=https"), **options) == {"scheme": "https"}


def test_who_is_not_trusted_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    fields = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "https")]
    with caplog.at_level(logging.WARNING, "aserver"):
        assert seen(*fields, peer=STRANGER) == {}
    assert caplog.messages == [
        "Ignoring X-Forwarded-For from 203.0.113.66, which is no trusted proxy "
        "(--forwarded-allow-ips); this is said once"
    ]


def test_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    forwarding = Forwarding(Proxy(proxy_headers=True, forwarded_allow_ips=()))
    first, second = forwarding.of(STRANGER), forwarding.of(None)
    assert first is not None
    assert second is not None
    with caplog.at_level(logging.WARNING, "aserver"):
        first(scope_of())
        assert caplog.messages == [], "nothing was said"
        second(scope_of(("x-forwarded-proto", "https"), client=None))
        first(scope_of(("x-forwarded-proto", "https")))
    assert [message.split(",")[0] for message in caplog.messages] == [
        "Ignoring X-Forwarded-Proto from a unix socket"
    ]
    assert forwarding.of(STRANGER) is None


def test_who_it_is_decided_by() -> None:
    forwarding = Forwarding(Proxy(proxy_headers=True))
    trusted = forwarding.of(NGINX)
    assert trusted == forwarding.of(None) == forwarding.of(("::1", 1))
    assert trusted != forwarding.of(STRANGER)


def test_what_is_no_network_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"^--forwarded-allow-ips: 'localhost' is no address"):
        Forwarding(Proxy(proxy_headers=True, forwarded_allow_ips=("localhost",)))
