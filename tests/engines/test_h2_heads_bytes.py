"""Each byte in each place of an HTTP/2 header section, against the words of RFC 9113."""

import pytest

from aserver.engines import h2_heads
from aserver.engines.h2_heads import check_trailers
from aserver.types import Field, Headers, ProtocolError
from tests.cases import each
from tests.engines.h2_requests import HOST, head, refusal, request
from tests.fakes import LIMITS

DIGITS = {*range(48, 58)}
CAPITALS = {*range(65, 91)}
SMALL = {*range(97, 123)}
TOKEN = {*b"!#$%&'*+-.^_`|~"} | DIGITS | CAPITALS | SMALL  # RFC 9110 section 5.6.2
CONTROLS = {*range(32), 127} - {9}  # section 5.5: what no field-vchar, SP or HTAB is
WHITE = {9, 32}
# RFC 3986 section 3.3 and 3.4, and what browsers do not encode: visible ASCII, but for what begins
# a fragment, and in the path, for what some take for a slash.
QUERY = {*range(33, 127)} - {*b"#"}
PATH = QUERY - {*b"\\"}
# Section 3.2.2: unreserved, sub-delims but for the comma, and the percent sign.
HOSTS = {*b"-._~%!$&'()*+;="} | DIGITS | CAPITALS | SMALL

# Known names take another path: each code comes to a memory that knows none.
ALL = each("code", range(256), before=lambda: h2_heads._plain_names.clear())


@pytest.fixture(autouse=True)
def fresh_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h2_heads, "_plain_names", set())


def accepts(fields: Headers, *, ended: bool = True, may_upgrade: bool = False) -> bool:
    """Whether it becomes a request; nothing else than a refusal may come of it."""
    try:
        request(fields, ended=ended, may_upgrade=may_upgrade)
    except ProtocolError:
        return False
    return True


def passes_as_trailer(field: Field) -> bool:
    try:
        check_trailers([(b"x", b"y"), field], LIMITS)
    except ProtocolError:
        return False
    return True


@ALL
def test_names(code: int) -> None:
    """Section 8.2.1; those with an underscore are dropped, as in HTTP/1."""
    for form in (b"%c", b"%cx", b"x%c", b"x%cy", b"\xe4%c", b"X%c"):
        name = form % code
        good = {*name} <= TOKEN - CAPITALS
        for _ in range(2):
            assert accepts(head((b"x", b""), (name, b"y"))) is good
            assert passes_as_trailer((name, b"y")) is good
        if good:
            kept = [] if b"_" in name else [(name, b"y")]
            assert request(head((name, b"y"))).headers == [HOST, *kept]


@ALL
@pytest.mark.parametrize("name", [b"x", b"cookie", b"x_y"])
def test_values(code: int, name: bytes) -> None:
    """Section 8.2.1, and RFC 9110 section 5.5."""
    for form in (b"%c", b"%ca", b"a%c", b"a%cb", b"a %c b"):
        value = form % code
        good = not {*value} & CONTROLS and value == value.strip(b" \t")
        for _ in range(2):
            assert accepts(head((name, value))) is good
            assert passes_as_trailer((name, value)) is good
        if good and name != b"x_y":
            assert request(head((name, value))).headers == [HOST, (name, value)]


@ALL
def test_methods(code: int) -> None:
    """Those that are tokens are unknown, but for one; the others are none."""
    for form in (b"GE%c", b"G%cT", b"%cET"):
        method = form % code
        if method == b"GET":
            assert accepts(head(method=method))
        else:
            expected = 501 if {*method} <= TOKEN else 400
            assert refusal(head(method=method))[0] == expected


@ALL
def test_paths(code: int) -> None:
    for form in (b"/%c", b"/%cb", b"/a%c", b"/?%c", b"/?a%cb"):
        path = form % code
        allowed = QUERY if b"?" in form else PATH
        assert accepts(head(path=path)) is (code in allowed)
        if code in allowed:
            assert request(head(path=path)).target == path


@ALL
def test_beginnings_of_paths(code: int) -> None:
    assert accepts(head(path=b"%c" % code)) is (code in b"/")
    assert accepts(head(path=b"%c" % code, method=b"OPTIONS")) is (code in b"/*")
    assert accepts(head(path=b"%c/" % code)) is (code in b"/")


@ALL
def test_schemes(code: int) -> None:
    assert accepts(head(scheme=b"http%c" % code)) is (code in b"sS")
    assert accepts(head(scheme=b"%chttps" % code)) is False
    assert accepts(head(scheme=b"htt%c" % code)) is (code in b"pP")


@ALL
def test_authorities(code: int) -> None:
    for form in (b"a%cb", b"%ca"):
        authority = form % code
        good = code in HOSTS
        assert accepts(head(authority=authority)) is good
        assert accepts(head((b"host", authority), authority=None)) is good


@ALL
def test_ports(code: int) -> None:
    assert accepts(head(authority=b"a:%c" % code)) is (code in DIGITS)
    assert accepts(head(authority=b"[::1]%c" % code)) is (code in b":")


@ALL
def test_protocols(code: int) -> None:
    """RFC 8441 section 4: one of a registry of tokens."""
    for form in (b"%c", b"websocket%c", b"%cwebsocket"):
        fields = head(method=b"CONNECT", protocol=form % code)
        if code in CONTROLS | WHITE:
            assert not accepts(fields, ended=False, may_upgrade=True)


@ALL
def test_lengths(code: int) -> None:
    for form in (b"%c", b"1%c", b"%c1"):
        length = form % code
        good = {*length} <= DIGITS and str(int(length)).encode() == length
        assert accepts(head((b"content-length", length)), ended=False) is good


@ALL
@pytest.mark.parametrize("name", [b"te", b"expect"])
def test_words(code: int, name: bytes) -> None:
    word = {b"te": b"trailers", b"expect": b"100-continue"}[name]
    for value in (word + b"%c" % code, b"%c" % code + word):
        with pytest.raises(ProtocolError):
            request(head((name, value)))
