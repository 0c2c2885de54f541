"""Headers of proxies as they are read: lists, several lines, other names, and `Forwarded`."""

from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.declarations import ConfigError
from aserver.forwarded import Said, header_names, parse_forwarded, reader
from aserver.proxy_options import FIELDS, Proxy


def read(*fields: tuple[str, str], **options: object) -> Said:
    options = {"proxy_headers_trust": FIELDS, **options}
    headers = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    return reader(Proxy(proxy_headers=True, **options))(headers)  # type: ignore[arg-type]


def test_nothing_is_said() -> None:
    assert read(("host", "a"), ("x-forwarded", "b"), ("forwarded", "for=192.0.2.1")) == {}


def test_one_item_each() -> None:
    said = read(
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-host", "example.org"),
        ("x-forwarded-prefix", "/app"),
        ("daphne-root-path", "/mount"),
    )
    assert said == {
        "for": ["192.0.2.1"],
        "proto": ["https"],
        "port": ["443"],
        "host": ["example.org"],
        "prefix": ["/app"],
        "root-path": ["/mount"],
    }


def test_lines_and_commas_make_one_list() -> None:
    """RFC 9110 section 5.3."""
    said = read(("x-forwarded-for", "a, b"), ("host", "x"), ("x-forwarded-for", " c,,d "))
    assert said == {"for": ["a", "b", "c", "", "d"]}


def test_a_root_path_is_no_list() -> None:
    assert read(("daphne-root-path", "/a,b"), ("daphne-root-path", "/c,d")) == {
        "root-path": ["/c,d"]
    }


def test_what_is_not_believed_is_not_read() -> None:
    fields = [("x-forwarded-for", "a"), ("x-forwarded-host", "b"), ("x-forwarded-prefix", "/c")]
    assert read(*fields, proxy_headers_trust=("for",)) == {"for": ["a"]}
    assert read(*fields, proxy_headers_trust=Proxy().proxy_headers_trust) == {"for": ["a"]}


def test_other_names() -> None:
    """To Daphne, the host is the client's."""
    options = {
        "proxy_headers_host": "X-Real-IP",
        "proxy_headers_port": "X-Real-Port",
        "proxy_headers_proto": "X-Scheme",
        "proxy_headers_prefix": "X-Script-Name",
    }
    fields = [("x-real-ip", "a"), ("x-real-port", "1"), ("x-scheme", "https")]
    old = [(f"x-forwarded-{name}", "no") for name in ("for", "port", "proto", "prefix")]
    said = read(*fields, ("x-script-name", "/x"), *old, **options)
    assert said == {"for": ["a"], "port": ["1"], "proto": ["https"], "prefix": ["/x"]}


@pytest.mark.parametrize("name", ["host", "port", "proto", "prefix"])
@pytest.mark.parametrize("value", ["", "X Real", "X-Real:", "(x)"])
def test_what_is_no_header_name_is_a_mistake(name: str, value: str) -> None:
    options = {f"proxy_headers_{name}": value, "proxy_headers_trust": FIELDS}
    with pytest.raises(ConfigError, match=f"^--proxy-headers-{name}: '.*' is not the name of a he"):
        header_names(Proxy(proxy_headers=True, **options))  # type: ignore[arg-type]


def test_a_header_that_never_comes_is_a_mistake() -> None:
    """One with an underscore could be another's: some write both in the same way."""
    with pytest.raises(ConfigError, match=r"^--proxy-headers-host: .* underscore, as X_Real_IP,"):
        header_names(Proxy(proxy_headers=True, proxy_headers_host="X_Real_IP"))


@pytest.mark.parametrize(
    "options",
    [
        {"proxy_headers_host": "x-forwarded-port"},
        {"proxy_headers_host": "X-Same", "proxy_headers_port": "X-Same"},
        {"proxy_headers_host": "X-Forwarded-Host", "proxy_headers_trust": FIELDS},
    ],
)
def test_one_header_for_two_things_is_a_mistake(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^--proxy-headers: [\w-]+ cannot be two headers$"):
        header_names(Proxy(proxy_headers=True, **options))


def test_a_name_of_what_is_not_believed_may_be_used_for_another() -> None:
    names = header_names(Proxy(proxy_headers=True, proxy_headers_host="X-Forwarded-Host"))
    assert names[b"x-forwarded-host"] == "for"


def forwarded(*values: str, trust: tuple[str, ...] = FIELDS) -> Said:
    fields = [("forwarded", value) for value in values]
    return read(*fields, proxy_headers_kind="forwarded", proxy_headers_trust=trust)


def test_lists_of_forwarded_have_the_same_length() -> None:
    said = forwarded('for=a;proto=http;by=x, For="b";HOST=c', "proto=https")
    assert said == {
        "for": ["a", "b", ""],
        "proto": ["http", "", "https"],
        "host": ["", "c", ""],
    }


def test_forwarded_does_not_look_at_the_others() -> None:
    fields = [("x-forwarded-for", "a"), ("daphne-root-path", "/b")]
    assert read(*fields, proxy_headers_kind="forwarded") == {"root-path": ["/b"]}


def test_fields_of_forwarded_that_are_not_believed() -> None:
    assert forwarded("for=a;proto=http;host=b", trust=("proto",)) == {"proto": ["http"]}


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("", []),
        (" , ,", [{}, {}, {}]),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", 1),
        ("for=192.0.2.43, for=198.51.100.17", 2),
        ('For="[2001:db8:cafe::17]:4711"', [{"for": "[2001:db8:cafe::17]:4711"}]),
        ("for=[2001:db8::1]:80", [{"for": "[2001:db8::1]:80"}]),
        ('for="a,b;c"', [{"for": "a,b;c"}]),
        (r'for="a\"b\\c"', [{"for": r"a\"b\c".replace(r"\"", '"')}]),
        ("for=_gazonk ; proto=https", [{"for": "_gazonk", "proto": "https"}]),
        ("for=a;;proto=b;", [{"for": "a", "proto": "b"}]),
        ('for=""', [{"for": ""}]),
        ("for=", [{"for": ""}]),
        # These are no elements.
        ("for", []),
        ("for=a;for=b", []),
        ("for=a b", []),
        ("for = a", []),
        ('for="a"b', []),
        ('for="a', []),
        ("=a", []),
    ],
)
def test_elements(text: str, elements: int | list[dict[str, str]]) -> None:
    found = parse_forwarded(text)
    assert (len(found) if isinstance(elements, int) else found) == elements


@pytest.mark.parametrize(
    "forged",
    ['for="', 'for="\\', "for=x;", ";", "for", '"', "for=x y", 'a="b"c', "\\", 'for="x, for="y'],
)
@pytest.mark.parametrize(
    "real", ["for=192.0.2.1;proto=https", 'for="[2001:db8::1]:47";host=example.org']
)
def test_no_client_can_hide_what_a_proxy_adds(forged: str, real: str) -> None:
    """What it has said itself may be cut anywhere, or lost; what stands behind it is read."""
    [expected] = parse_forwarded(real)
    assert parse_forwarded(f"{forged}, {real}")[-1] == expected


@given(st.text('",;=\\ab [:]'))
def test_no_client_can_whatever_it_says(forged: str) -> None:
    [expected] = parse_forwarded('for="[2001:db8::1]:47"')
    assert parse_forwarded(f'{forged}, for="[2001:db8::1]:47"')[-1] == expected


def test_of_many_elements_the_last_thousand_are_read() -> None:
    near = {"for": "near"}
    nothing: list[dict[str, str]] = [{}]
    assert parse_forwarded(f"for=far{999 * ','}for=near") == [{"for": "far"}, *nothing * 998, near]
    assert parse_forwarded(f"for=far{1000 * ','}for=near") == [*nothing * 999, near]
    assert parse_forwarded(f"{65_000 * 'for=far,'}for=near") == [*[{"for": "far"}] * 999, near]


def test_what_is_no_element_is_not_long() -> None:
    """Nor is what stands in front of it read: it might begin there."""
    longest = "," * 511
    assert parse_forwarded(f'for=far,for="{longest}"') == [{"for": "far"}, {"for": longest}]
    assert parse_forwarded(f'for=far,for="{longest},"') == []
    assert parse_forwarded(f'for=far,for="{longest},",for=near') == [{"for": "near"}]


@pytest.mark.parametrize(
    "piece",
    ['x="\\",', "a,", "a=b;", 'x=",', '"', "x=\\,", ",", "a=b,", " ", "\t ,", "a", ";", "a="],
)
def test_a_long_header_takes_no_time(piece: str) -> None:
    before = process_time()
    parse_forwarded(piece * (65536 // len(piece)))
    parse_forwarded(f"for=far;{piece * (65536 // len(piece))}x, for=near")
    assert process_time() - before < 1, "quadratic, it would be a minute"
