"""The access log's formats, each compiled once: functions that take notes, one that makes lines.

Where a response ends, the values that the format needs are noted (`access_notes`). The lines of a
whole batch are made of the notes later, in one loop, which takes half of the time that they take
one by one between other things.

A format is literal text and atoms such as `%(h)s`. Each atom is a piece of an f-string over a few
names; the functions compute the names that are needed and nothing else. Outside text only gets
into their source as the `repr` of a string.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import localtime, perf_counter
from typing import Any, NamedTuple

from .access_notes import (
    DAPHNES_EVENTS,
    EVENTS,
    NOTED,
    NewRecord,
    NewSocketRecord,
    Note,
    record_source,
    tuple_source,
)
from .access_values import Memo, peer, response_field, user_name
from .declarations import ConfigError
from .escaping import quoted, quoted_targets

# What the time between `Exchange.began` and the line is measured with.
clock = perf_counter

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Moment:
    """A second, as the formats write it; the names of months do not follow the locale."""

    __slots__ = ("clf", "daphne", "iso")

    def __init__(self, timestamp: float) -> None:
        t = localtime(timestamp)
        sign, minutes = "-" if t.tm_gmtoff < 0 else "+", abs(t.tm_gmtoff) // 60
        zone, time = divmod(minutes, 60), f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
        self.daphne = f"{t.tm_mday:02d}/{MONTHS[t.tm_mon - 1]}/{t.tm_year}:{time}"
        self.clf = f"[{self.daphne} {sign}{zone[0]:02d}{zone[1]:02d}]"
        date = f"{t.tm_year}-{t.tm_mon:02d}-{t.tm_mday:02d}"
        self.iso = f"{date}T{time}{sign}{zone[0]:02d}:{zone[1]:02d}"


class Format(NamedTuple):
    """A compiled format.

    Attributes:
        new_record: Makes a function that takes down what a line needs of an exchange that has
            ended. It is given the list to put notes in; the lengths of that list at which it calls
            `turn` first; and what it calls with an exception, for it raises none itself.
        new_socket_records: The same for each event of a WebSocket that has a line.
        lines: Makes the lines of a batch, each with its line end.
        timed: Whether a note needs `Exchange.began`.
    """

    new_record: NewRecord
    new_socket_records: Mapping[str, NewSocketRecord]
    lines: Callable[[Sequence[Note], Moment], bytes]
    timed: bool


FORMATS = {
    "daphne": '%(client)s - - [%(time)s] "%(m)s %(target)s" %(s)s %(b)s',
    "common": '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s',
    "combined": '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
}

# Each atom, as a piece of an f-string over NOTED, _NAMES, `moment` and `pid`. Those of one letter
# mean what they mean to gunicorn (%(I)s: to Apache); ours are words.
ATOMS = {
    "h": "{host}",
    "l": "-",
    "u": "{user}",
    "t": "{moment.clf}",
    "r": "{method} {target} HTTP/{version}",
    "m": "{method}",
    "U": "{path}",
    "q": "{query}",
    "H": "HTTP/{version}",
    "s": "{numbers[status]}",
    "B": "{sent}",
    "b": "{sent or '-'}",
    "I": "{received}",
    "f": "{referer}",
    "a": "{user_agent}",
    "T": "{int(seconds)}",
    "M": "{int(seconds * 1000)}",
    "D": "{int(seconds * 1000000)}",
    "L": "{seconds:.6f}",
    "p": "<{pid}>",
    "pid": "{pid}",
    "client": "{peer}",
    "target": "{target}",
    "time": "{moment.daphne}",
    "iso": "{moment.iso}",
    "close_code": "{close_code}",
    "closed_by": "{closed_by}",
    "messages_in": "{messages_in}",
    "messages_out": "{messages_out}",
}

# What is made of a whole batch at once.
_COLUMNS = {"target": ("quoted_targets", "raw_target")}

# How other names are computed; in this order, for some need others that stand above them.
_NAMES = {
    "host": "client[0] if client else '-'",
    "peer": "peers[client]",
    "path": "target.partition('?')[0]",
    "query": "target.partition('?')[2]",
    "fields": "dict(headers)",  # of several with one name, the last
    "user": "user_name(fields.get(b'authorization', b''))",
    "referer": "values[fields.get(b'referer', b'-')]",
    "user_agent": "values[fields.get(b'user-agent', b'-')]",
}

# The members of a JSON line, and what they are as text that is JSON already.
JSON = {
    "time": '"{moment.iso}"',
    "client": "{text(client[0]) if client else 'null'}",
    "port": "{(client[1] or 'null') if client else 'null'}",
    "method": "{text(method)}",
    "path": "{text(path)}",
    "query": "{text(query)}",
    "http_version": '"{version}"',
    "status": "{status}",
    "bytes_in": "{received}",
    "bytes_out": "{sent}",
    "duration": "{seconds:.6f}",
    "referer": "{optional(fields.get(b'referer'))}",
    "user_agent": "{optional(fields.get(b'user-agent'))}",
    "pid": "{pid}",
}
# Those that stand behind them if it is the line of a WebSocket; "d" lets nothing but numbers in.
JSON_OF_SOCKETS = {
    "close_code": "{0:d}",
    "closed_by": '"{1}"',
    "messages_in": "{2:d}",
    "messages_out": "{3:d}",
}

_ATOM = re.compile(r"%(?:(%)|\((?:\{([^{}]*)\}([ioe])|(\w+))\)s)?")
_is_header = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z_-]+").fullmatch


def compile_format(text: str) -> Format:
    """Compile a format: a name of `FORMATS`, `json`, or text with atoms.

    Raises:
        ConfigError: There is no such atom.
    """
    source = _Source(DAPHNES_EVENTS if text == "daphne" else EVENTS)
    if text == "json":
        source.add_json()
    else:
        if text not in FORMATS and "%" not in text:
            raise ConfigError(
                f"--access-log-format: {text!r} is none of {', '.join([*FORMATS, 'json'])}, "
                "and has no atoms, such as %(h)s"
            )
        source.add_format(FORMATS.get(text, text))
    return source.compiled()


class _Source:
    """The functions' source, while it is put together."""

    def __init__(self, events: Mapping[str, Mapping[str, str]]) -> None:
        self._events = events
        self._pieces: list[str] = []  # string literals of Python, joined by the compiler
        self._columns = _COLUMNS.copy()
        self._names = _NAMES.copy()
        self._environment: dict[str, Any] = {
            "clock": clock,
            "pid": os.getpid(),
            "numbers": Memo(str),
            "peers": Memo(peer),
            "quoted_targets": quoted_targets,
            "user_name": user_name,
            "values": Memo(quoted),
        }

    def add_format(self, text: str) -> None:
        end = 0
        for match in _ATOM.finditer(text):
            self._pieces.append(repr(text[end : match.start()]))
            end = match.end()
            percent, field, kind, atom = match.groups()
            if percent:
                self._pieces.append("'%'")
            elif field is not None:
                self._add_field(field, kind)
            elif atom in ATOMS:
                self._pieces.append(f'f"{ATOMS[atom]}"')
            else:
                wrong = match[0] if atom else text[match.start() : end + 8]
                raise ConfigError(
                    f"--access-log-format: there is no atom {wrong!r} (%% is a percent sign)"
                )
        self._pieces.append(repr(text[end:]))

    def _add_field(self, field: str, kind: str) -> None:
        """`%({field}i)s`, of the request, `o`, of the response, and `e`, of the environment."""
        if kind == "e":
            self._pieces.append(repr(quoted(os.environb.get(os.fsencode(field), b"-"))))
            return
        if not _is_header(field):
            raise ConfigError(f"--access-log-format: {field!r} is not the name of a header")
        name = f"field{len(self._names)}"
        if kind == "i":
            self._names[name] = f"values[fields.get({field.lower().encode()!r}, b'-')]"
        else:
            self._environment[f"find_{name}"] = response_field(field)
            self._names[name] = f"find_{name}(block)"
        self._pieces.append(f'f"{{{name}}}"')

    def add_json(self) -> None:
        from json.encoder import encode_basestring_ascii  # not at the top: few need it

        def optional(value: bytes | None) -> str:
            return "null" if value is None else encode_basestring_ascii(value.decode("latin-1"))

        of_sockets = "".join(f', "{key}": {each}' for key, each in JSON_OF_SOCKETS.items())
        self._environment |= {
            "text": encode_basestring_ascii,
            "optional": optional,
            "of_sockets": of_sockets.format,
        }
        del self._columns["target"]
        self._names = {"target": "raw_target.decode('latin-1')", **self._names}
        for key, piece in JSON.items():
            self._pieces += [repr(f'{", " if self._pieces else "{"}"{key}": '), f"f'''{piece}'''"]
        self._pieces += ["f'{of_sockets(*ending) if ending else \"\"}'", "'}'"]

    def compiled(self) -> Format:
        words, computed = self._needed()
        noted = [name for name in NOTED if name in words]
        columns = [name for name in self._columns if name in words]
        note, rows = tuple_source(noted), "notes"
        if columns:
            note = f"({note}, {', '.join(columns)})"
            rows = f"zip(notes, {', '.join(f'all_{name}' for name in columns)})"
        source = [
            *record_source("new_record", [NOTED[name] for name in noted]),
            *self._socket_records(noted),
            "def lines(notes, moment):",
            *(f"    all_{name} = {self._column(name, noted)}" for name in columns),
            f"    made = [{' '.join(self._pieces)} '\\n'",
            f"        for {note} in {rows}",
            *(f"        for {name} in [{self._names[name]}]" for name in computed),
            "    ]",
            "    return ''.join(made).encode('utf-8', 'replace')",
        ]
        environment = self._environment
        exec(compile("\n".join(source), "<access log format>", "exec"), environment)
        return Format(
            environment["new_record"],
            {event: environment[f"new_{event}"] for event in self._events},
            environment["lines"],
            "seconds" in noted,
        )

    def _socket_records(self, noted: list[str]) -> Iterator[str]:
        for event, others in self._events.items():
            values = [others.get(name, NOTED[name]) for name in noted]
            yield from record_source(f"new_{event}", values, "head=None")

    def _needed(self) -> tuple[set[str], list[str]]:
        """The names that the pieces need, and those of them to be computed, in their order."""
        words = {word for piece in self._pieces if piece[0] == "f" for word in _names_in(piece)}
        computed: list[str] = []
        for name in reversed(self._names):
            if name in words:
                words.update(_names_in(self._names[name]))
                computed.insert(0, name)
        words.update(self._columns[name][1] for name in words & self._columns.keys())
        return words, computed

    def _column(self, name: str, noted: list[str]) -> str:
        function, source = self._columns[name]
        return f"{function}([note[{noted.index(source)}] for note in notes])"


def _names_in(expression: str) -> tuple[str, ...]:
    """The names in an expression, and not the words in its strings, which may be anybody's."""
    return compile(expression, "<access log format>", "eval").co_names
