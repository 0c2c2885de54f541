"""What proxies write into headers, read: by field, what each of them has said, the last one last.

An item that is empty is kept: its proxy has said nothing. Without it, what the client has written
in front would stand in that proxy's place.

Whether anybody is to be believed is the business of `aserver.forwarding`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from .declarations import ConfigError
from .proxy_options import RENAMED, Proxy
from .types import Headers

Said = dict[str, list[str]]

_ROOT_PATH = "root-path"  # Daphne's own: no list, and a comma in it is a comma
_FORWARDED = "forwarded"  # RFC 7239: of several fields
_X_FORWARDED = {
    "for": "X-Forwarded-For",
    "proto": "X-Forwarded-Proto",
    "port": "X-Forwarded-Port",
    "host": "X-Forwarded-Host",
    "prefix": "X-Forwarded-Prefix",
    _ROOT_PATH: "Daphne-Root-Path",
}

_is_token = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z_-]+").fullmatch
# RFC 7239 section 4: a token, and a token or a quoted string. Not everybody quotes colons and
# brackets, as one should. Nothing is tried twice: a client writes what stands in front.
_find_pair = re.compile(
    r"[ \t]*+"
    r"(?:([!#$%&'*+.^`|~0-9A-Za-z_-]++)=(?:\"((?:[^\"\\]|\\.)*+)\"|([^\",;= \t\\]*+)))?"
    r"[ \t]*+(;|\Z)"
).match
_ESCAPED = re.compile(r"\\(.)")
_LONGEST_ELEMENT = 512  # characters
_MOST_COMMAS = 1000


def header_names(proxy: Proxy) -> Mapping[bytes, str]:
    """The headers that count, in lower case, and the fields that they are about.

    Raises:
        ConfigError: An option names no header.
    """
    trusted = {_FORWARDED, *proxy.proxy_headers_trust}
    if _is_standard(proxy):
        names = {_FORWARDED: "Forwarded", _ROOT_PATH: _X_FORWARDED[_ROOT_PATH]}
    else:
        names = _X_FORWARDED | _renamed(proxy)
    found: dict[bytes, str] = {}
    for field, name in names.items():
        if field in trusted and found.setdefault(name.lower().encode(), field) != field:
            raise ConfigError(f"--proxy-headers: {name} cannot be two headers")
    return found


def reader(proxy: Proxy) -> Callable[[Headers], Said]:
    """What reads those headers: what is said in them, or nothing.

    Raises:
        ConfigError: As `header_names`.
    """
    names = header_names(proxy)
    if _is_standard(proxy):
        fields = [each for each in ("for", "proto", "host") if each in proxy.proxy_headers_trust]
        return partial(read_forwarded, names, fields)
    return partial(read_headers, names)


def _is_standard(proxy: Proxy) -> bool:
    return proxy.proxy_headers_kind == "forwarded"


def _renamed(proxy: Proxy) -> dict[str, str]:
    renamed = {}
    for option, field in RENAMED.items():
        name = getattr(proxy, f"proxy_headers_{option}")
        if name is None:
            continue
        if not _is_token(name):
            raise ConfigError(f"--proxy-headers-{option}: {name!r} is not the name of a header")
        if "_" in name:
            raise ConfigError(
                f"--proxy-headers-{option}: headers with an underscore, as {name}, are dropped"
            )
        renamed[field] = name
    return renamed


def read_headers(names: Mapping[bytes, str], headers: Headers) -> Said:
    """What is said in headers of these names; empty if nothing is."""
    said: Said = {}
    for name, value in headers:
        if name not in names:
            continue
        field, text = names[name], value.decode("latin-1")
        if field == _ROOT_PATH:
            said[field] = [text]
        else:  # several lines are one list (RFC 9110 section 5.3)
            items = said.setdefault(field, [])
            items.extend(item.strip(" \t") for item in text.split(","))
    return said


def read_forwarded(names: Mapping[bytes, str], fields: Sequence[str], headers: Headers) -> Said:
    """The same for these fields of the header `Forwarded`. Their lists have the same length."""
    said = read_headers(names, headers)
    elements = parse_forwarded(",".join(said.pop(_FORWARDED, ())))
    for field in fields if elements else ():
        said[field] = [element.get(field, "") for element in elements]
    return said


def parse_forwarded(text: str) -> list[dict[str, str]]:
    """The elements of `Forwarded`, as far as they can be read from the right.

    The last is the nearest proxy's. A client that has opened a quoted string in front of it, to be
    closed by whatever the proxy adds, must not make it unreadable: so the beginning of each element
    is the nearest comma behind which it makes sense.
    """
    elements: list[dict[str, str]] = []
    end = comma = len(text) or -1
    for _ in range(_MOST_COMMAS):
        if comma < 0:
            break
        comma = text.rfind(",", 0, comma)
        element = _parse_element(text[comma + 1 : end])
        if element is not None:
            elements.append(element)
            end = comma
        elif end - comma > _LONGEST_ELEMENT:
            break
    return elements[::-1]


def _parse_element(text: str) -> dict[str, str] | None:
    """Names, in lower case, and values. None: it is no element."""
    pairs: dict[str, str] = {}
    position, separator = 0, ";"
    while separator:
        match = _find_pair(text, position)
        if match is None:
            return None
        name, quoted, plain, separator = match.groups()
        if name and name.lower() in pairs:
            return None
        if name:
            pairs[name.lower()] = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
        position = match.end()
    return pairs
