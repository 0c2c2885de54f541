"""Prefixes of paths: what a root_path is."""

import re

# What no prefix has. With two slashes in front, a link would lead to another host, and a browser
# takes a backslash for a slash; dots between slashes, it takes for another path.
_find_odd = re.compile(r"\A(?!/)|\A//|[\\?#\x00-\x1f\x7f]|/\.\.?(?:/|\Z)").search


def clean_prefix(text: str) -> str | None:
    """A prefix without a slash at its end; None if it is none. The empty one is that of all."""
    return None if text and _find_odd(text) else text.rstrip("/")
