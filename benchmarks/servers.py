"""The table of servers. To add one, add a row to each of the two tables here.

A command line is a template of the program and its arguments:

    {bin}      the folder of programs of the server's own environment
    {port}     a free port on the loopback address
    {app}      the application, ``module:object``
    {options}  the switches below that the case asks for
    {log}      the file that receives the access log (inside of the switches)

Every server gets one worker, uvloop where it can, and the defaults of production otherwise. It
runs in a folder that has the certificate of the run, its key and ``hypercorn.toml``.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.cases import Wire

HOST = "127.0.0.1"
UVLOOP = "uvloop==0.23.0"
HTTPTOOLS = "httptools==0.9.0"
H11 = "h11==0.16.0"
H2 = "h2==4.4.1"
WSPROTO = "wsproto==1.3.2"
CERTIFICATE, KEY = "certificate.pem", "key.pem"


@dataclass(frozen=True)
class Environment:
    """One virtual environment. ``show`` are the packages whose versions a report names."""

    name: str
    requirements: tuple[str, ...]
    show: tuple[str, ...]
    checkout: bool = False
    """Install the working tree, anew at each run, so that what is measured is what is there."""


@dataclass(frozen=True)
class Server:
    name: str
    environment: str
    command: str
    wires: Mapping[Wire, str]
    """What it speaks, and the switches that it needs for that: its part in the cases."""
    quiet: str = ""
    """Switches that turn the access log off."""
    logged: str | None = ""
    """Switches that turn it on, to ``{log}`` or to stdout; None: this server has no access log."""
    patient: str = ""
    """Switches for the memory case only: keep idle connections, and enough of them."""
    ours: bool = False


ENVIRONMENTS = (
    Environment("aserver", (), ("aserver", "httptools", "h11", "h2", "uvloop"), checkout=True),
    Environment("daphne", ("daphne==4.2.3",), ("daphne", "Twisted")),
    Environment(
        "uvicorn",
        ("uvicorn==0.54.0", H11, HTTPTOOLS, "zttp==0.0.35", UVLOOP, WSPROTO, "websockets==17.4"),
        ("uvicorn", "h11", "httptools", "zttp", "uvloop", "wsproto", "websockets"),
    ),
    Environment(
        "hypercorn",
        ("hypercorn==0.18.0", H11, H2, UVLOOP, WSPROTO),
        ("hypercorn", "h11", "h2", "uvloop", "wsproto"),
    ),
    Environment("granian", ("granian==2.8.7", UVLOOP), ("granian", "uvloop")),
    Environment(
        "gunicorn",
        ("gunicorn==27.0.1", "gunicorn_h1c==0.6.9", H2, UVLOOP),
        ("gunicorn", "gunicorn_h1c", "h2", "uvloop"),
    ),
    Environment("socketify", ("socketify==0.0.31",), ("socketify",)),
    Environment("fastpysgi", ("fastpysgi==0.6",), ("fastpysgi",)),
)


_FILES = f"--certfile {CERTIFICATE} --keyfile {KEY}"
_SSL_FILES = f"--ssl-certfile {CERTIFICATE} --ssl-keyfile {KEY}"
# These close a connection after 1,000,000 and after 1,000 requests; the load would end there.
_ASERVER_H2 = "--http2-max-requests 0"
_HYPERCORN_H2 = "-c hypercorn.toml"
_GRANIAN_TLS = f"--ssl-certificate {CERTIFICATE} --ssl-keyfile {KEY}"
_GUNICORN_H2 = "--http-protocols h2,h1"


def _plain(switches: str = "") -> dict[Wire, str]:
    """What most servers speak unless told otherwise."""
    return {Wire.HTTP: switches, Wire.WEBSOCKET: switches}


def _aserver(parser: str, wires: Mapping[Wire, str]) -> Server:
    """HTTP/2 does not depend on the parser of HTTP/1.1: one of the rows has it."""
    return Server(
        f"aserver-{parser}",
        "aserver",
        f"{{bin}}/aserver --http {parser} -b {HOST}:{{port}} {{options}} {{app}}",
        {**_plain(), Wire.TLS: _FILES, **wires},
        quiet="--no-access-log",
        logged="--access-log {log}",
        ours=True,
    )


def _uvicorn(
    name: str, http: str, websocket: str = "", wires: Mapping[Wire, str] | None = None
) -> Server:
    """One row per parser of HTTP and one per implementation of WebSocket, not their product."""
    spoken = {Wire.WEBSOCKET: ""} if websocket else {Wire.HTTP: "", Wire.TLS: _SSL_FILES}
    switches = f"--http {http} --ws {websocket or 'none'}"
    return Server(
        f"uvicorn-{name}",
        "uvicorn",
        f"{{bin}}/uvicorn {switches} --loop uvloop --host {HOST} --port {{port}} "
        "{options} {app}",
        {**spoken, **(wires or {})},
        quiet="--no-access-log",
        patient="--timeout-keep-alive 75",
    )


SERVERS = (
    _aserver("httptools", {Wire.H2: _ASERVER_H2, Wire.H2_TLS: f"{_ASERVER_H2} {_FILES}"}),
    _aserver("h11", {}),
    Server(
        "daphne",
        "daphne",
        "{bin}/daphne {options} {app}",
        _plain(f"-b {HOST} -p {{port}}")
        | {Wire.TLS: f"-e ssl:{{port}}:privateKey={KEY}:certKey={CERTIFICATE}:interface={HOST}"},
        quiet="-v 0",
        logged="--access-log {log}",
    ),
    _uvicorn("h11", "h11"),
    _uvicorn("httptools", "httptools"),
    _uvicorn(
        "zttp",
        "zttp",
        wires={Wire.H2: "--http2", Wire.H2_TLS: f"--http2 {_SSL_FILES}"},
    ),
    _uvicorn("wsproto", "httptools", "wsproto"),
    _uvicorn("websockets", "httptools", "websockets"),
    _uvicorn("sansio", "httptools", "websockets-sansio"),
    Server(
        "hypercorn",
        "hypercorn",
        f"{{bin}}/hypercorn -k uvloop -b {HOST}:{{port}} {{options}} {{app}}",
        _plain()
        | {
            Wire.TLS: _FILES,
            Wire.H2: _HYPERCORN_H2,
            Wire.H2_TLS: f"{_HYPERCORN_H2} {_FILES}",
        },
        logged="--access-logfile {log}",
        patient="--keep-alive 75",
    ),
    Server(
        "granian",
        "granian",
        f"{{bin}}/granian --interface asgi --loop uvloop --host {HOST} --port {{port}} "
        "{options} {app}",
        _plain()
        | {
            Wire.TLS: _GRANIAN_TLS,
            Wire.H2: "--http 2",
            Wire.H2_TLS: f"--http 2 {_GRANIAN_TLS}",
        },
        logged="--access-log",
        # It stops accepting at --backpressure connections, 1,024 unless told.
        patient="--backlog 8192 --backpressure 8192",
    ),
    Server(
        "gunicorn",
        "gunicorn",
        f"{{bin}}/gunicorn -k asgi --asgi-loop uvloop --no-control-socket -b {HOST}:{{port}} "
        "{options} {app}",
        _plain()
        | {
            Wire.TLS: _FILES,
            Wire.H2: f"{_GUNICORN_H2} --http2-cleartext prior-knowledge",
            Wire.H2_TLS: f"{_GUNICORN_H2} {_FILES}",
        },
        logged="--access-logfile {log}",
        patient="--keep-alive 75",
    ),
    Server(
        "fastpysgi",
        "fastpysgi",
        f"{{bin}}/fastpysgi --host {HOST} --port {{port}} {{options}} {{app}}",
        {Wire.HTTP: "", Wire.TLS: _FILES},
        logged=None,
    ),
    Server(
        "socketify",
        "socketify",
        f"{{bin}}/python -m socketify {{app}} --interface asgi --host {HOST} --port {{port}} "
        "--disable-listen-log true {options}",
        {Wire.WEBSOCKET: ""},
        logged=None,
    ),
)


def command_line(server: Server, options: str, **values: str) -> list[str]:
    """Fill in the template. It is split first: a value with a space stays one argument."""
    words: list[str] = []
    for word in shlex.split(server.command):
        words += shlex.split(options) if word == "{options}" else [word]
    return [word.format(**values) for word in words]
