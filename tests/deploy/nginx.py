"""A recipe of docs/deploy/nginx, run: a real nginx, and the server's command as the recipe has it.

The main configuration is ours: what a distribution's nginx.conf does, with everything that nginx
writes in the test's directory. `conf.d`, `snippets` and the recipe are the files of the docs.
`PLACES` has what users exchange in them, and so do we; the README has the same table.
"""

import grp
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.processes import DEADLINE, ROOT, Process
from tests.services import require_program

RECIPES = ROOT / "docs" / "deploy" / "nginx"
HOST = "example.com"
HOST_ADDRESS = "127.0.0.1"
# What a user exchanges, and its name among the arguments of `Nginx`.
PLACES = {
    "127.0.0.1:8000": "server",
    "unix:/run/mysite/aserver.sock": "server",
    "unix:/run/mysite/aserver0.sock": "server",
    "unix:/run/mysite/aserver1.sock": "second",
    "unix:/run/mysite/pages.sock": "pages",
    "/srv/mysite/static/": "static",
    "/etc/ssl/example.com.pem": "certificate",
    "/etc/ssl/private/example.com.key": "key",
}
_LISTEN = re.compile(r"^(\s*listen )(80|443)\b", re.MULTILINE)
_COMMAND = r"^#   ({program} (?:.*\\\n#)*.*)$"
_PROBLEM = re.compile(r"\[(?:warn|error|crit|alert|emerg)\].*", re.MULTILINE)

_MAIN = """
daemon off;
{user}
pid {directory}/nginx.pid;
worker_processes 1;
worker_shutdown_timeout 5s;
events {{ worker_connections 4096; }}
http {{
    include {types};
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include conf.d/*.conf;
    include recipe.conf;
}}
"""
_TYPES = "types { text/css css; text/javascript js; text/html html; }"


class Nginx:
    """A recipe, served.

        with Nginx("unified.conf", tmp_path, server="127.0.0.1:43210") as nginx:
            httpx.get(nginx.url, headers={"Host": HOST})

    Its sockets are bound here, and handed over as one nginx hands them to the next: nobody else
    can take the ports in between.

    Args:
        recipe: A file of docs/deploy/nginx.
        directory: Where it works; made if it is not there.
        changes: Text of the recipe or of the snippets, and what is to stand in its place.
        places: By the names of `PLACES`: what stands there in this test.
    """

    def __init__(
        self,
        recipe: str,
        directory: Path,
        changes: Mapping[str, str] | None = None,
        **places: str,
    ) -> None:
        self._program = require_program("nginx")
        directory.mkdir(exist_ok=True)
        self.directory = directory
        if "server" in places:
            places.setdefault("second", places["server"])
        self._places = places
        self._changes = dict(changes or {})
        self._sockets = {port: _listening() for port in ("80", "443")}
        self.address, self.tls_address = (
            (HOST_ADDRESS, each.getsockname()[1]) for each in self._sockets.values()
        )
        self.url = f"http://{HOST_ADDRESS}:{self.address[1]}"
        self.tls_url = f"https://{HOST_ADDRESS}:{self.tls_address[1]}"
        self._write(recipe)
        self._process = self._start()

    def _write(self, recipe: str) -> None:
        shutil.copytree(RECIPES / "conf.d", self.directory / "conf.d", dirs_exist_ok=True)
        shutil.copytree(RECIPES / "snippets", self.directory / "snippets", dirs_exist_ok=True)
        shutil.copy(RECIPES / recipe, self.directory / "recipe.conf")
        for file in self.directory.rglob("*.conf"):
            file.write_text(self._placed(file.read_text(encoding="utf-8")), encoding="utf-8")
        assert not self._changes, f"not in {recipe}: {list(self._changes)}"
        main = self.directory / "nginx.conf"
        types = self.directory / "mime.types"
        types.write_text(_TYPES)
        # Workers of root's nginx would be nobody, who may not look into a directory of the tests.
        user = "user root;" if os.geteuid() == 0 else ""
        main.write_text(_MAIN.format(directory=self.directory, types=types, user=user))

    def _placed(self, text: str) -> str:
        """A file of the recipes, with what is true here in the places of what is true there."""
        for there, name in PLACES.items():
            if name in self._places:
                text = text.replace(there, self._places[name])
        text = _LISTEN.sub(self._listen, text)
        for old in [old for old in self._changes if old in text]:
            text = text.replace(old, self._changes.pop(old))
        return text

    def _listen(self, match: re.Match[str]) -> str:
        host, port = self._sockets[match[2]].getsockname()
        return f"{match[1]}{host}:{port}"

    def _start(self) -> "subprocess.Popen[bytes]":
        log = self.directory / "error.log"
        numbers = [each.fileno() for each in self._sockets.values()]
        process = subprocess.Popen(
            [self._program, "-p", self.directory, "-e", log, "-c", self.directory / "nginx.conf"],
            env={**os.environ, "NGINX": "".join(f"{number};" for number in numbers)},
            pass_fds=numbers,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for each in self._sockets.values():
            each.close()
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        _, said = self._process.communicate(timeout=DEADLINE)
        assert self._process.returncode == 0, said.decode()

    @property
    def problems(self) -> list[str]:
        """What it complains about in its log."""
        return _PROBLEM.findall((self.directory / "error.log").read_text())


def command(recipe: str, program: str = "aserver") -> list[str]:
    """What the recipe's head says is to be typed, without the program and the application.

    Of several commands it is the first that begins with `program`.
    """
    text = (RECIPES / recipe).read_text(encoding="utf-8")
    match = re.search(_COMMAND.format(program=program), text, re.MULTILINE)
    assert match is not None, f"{recipe} has no command of {program}"
    _, *options, application = shlex.split(match[1].replace("\\\n#", " "))
    assert application.startswith("mysite.")
    return options


def serving(
    recipe: str, app: str, directory: Path, *more: str, environ: Mapping[str, str] | None = None
) -> Process:
    """The server of a recipe: its command, at an address of this test."""
    places = {
        "127.0.0.1:8000": f"{HOST_ADDRESS}:0",
        "/run/mysite/aserver.sock": str(directory / "aserver.sock"),
        "/run/mysite/aserver0.sock": str(directory / "aserver0.sock"),
        "www-data": grp.getgrgid(os.getegid()).gr_name,
    }
    options = (places.get(each, each) for each in command(recipe))
    return Process(app, *options, *more, environ=environ)


def upstream(process: Process) -> str:
    """Where it listens, as nginx writes it."""
    return process.url.removeprefix("http://")


def _listening() -> socket.socket:
    """A listening socket at a free port."""
    sock = socket.create_server((HOST_ADDRESS, 0))
    sock.set_inheritable(True)
    return sock
