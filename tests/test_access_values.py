"""Single values of access log lines."""

import base64

import pytest

from aserver.access_values import Memo, peer, response_field, user_name


@pytest.mark.parametrize(
    ("authorization", "user"),
    [
        (b"Basic " + base64.b64encode(b"ada:secret"), "ada"),
        (b"basic " + base64.b64encode(b'a b"\n\x1b:'), r"a\x20b\x22\x0a\x1b"),
        (b"Basic " + base64.b64encode(b":secret"), "-"),
        (b"Basic a", "-"),
        (b"Basic", "-"),
        (b"Bearer YTpi", "-"),
        (b"", "-"),
    ],
)
def test_users(authorization: bytes, user: str) -> None:
    assert user_name(authorization) == user


def test_peers() -> None:
    assert peer(("::1", 80)) == "::1:80"
    assert peer(None) == "None"


def test_fields_of_a_response_are_found_by_their_whole_name() -> None:
    block = b'HTTP/1.1 200 OK\r\na-b: b: 1\r\nB: 2"\r\n'
    assert response_field("b")(block) == r"2\x22"
    assert response_field("A-B")(block) == "b: 1"
    assert response_field("a.b")(block) == "-"


def test_what_is_remembered_is_made_once_and_bounded() -> None:
    made = []

    def make(number: int) -> str:
        made.append(number)
        return "a" * number

    memo = Memo(make)
    assert [memo[3], memo[3]] == ["aaa", "aaa"]
    assert made == [3]
    assert memo[501] == "a" * 501
    assert 501 not in memo, "it would be much for an unusual one"
    few = Memo(str)
    for number in range(3000):
        assert few[number] == str(number)
        assert len(few) <= 1024
