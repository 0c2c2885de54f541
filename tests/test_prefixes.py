"""What a prefix of paths is."""

import pytest

from aserver.prefixes import clean_prefix


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("", ""),
        ("/", ""),
        ("/shop", "/shop"),
        ("/shop/", "/shop"),
        ("/shop//", "/shop"),
        ("/a/b", "/a/b"),
        ("/a//b", "/a//b"),
        ("/a b", "/a b"),
        ("/\N{SNOWMAN}", "/\N{SNOWMAN}"),
        ("/...", "/..."),
        ("/.a", "/.a"),
    ],
)
def test_it_has_no_slash_at_its_end(text: str, prefix: str) -> None:
    assert clean_prefix(text) == prefix


@pytest.mark.parametrize(
    "text",
    [
        "shop",
        "//",
        "//shop",
        "/\\shop",
        "/a?b",
        "/a#b",
        "/.",
        "/..",
        "/a/../b",
        "/a/.",
        "/a\n",
        " ",
    ],
)
def test_what_is_none(text: str) -> None:
    assert clean_prefix(text) is None
