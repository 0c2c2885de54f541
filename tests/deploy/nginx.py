"""A recipe of docs/deploy/nginx, run: a real nginx, and the server's command as the recipe has it.

The main configuration is ours: what a distribution's nginx.conf does, with everything that nginx
writes in the test's directory. `conf.d`, `snippets` and the recipe are the files of the docs.
`PLACES` has what users exchange in them, and so do we; the README has the same table.
"""

import grp
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.deploy.fronts import HOST_ADDRESS, Front, two_ports
from tests.deploy.programs import command_in
from tests.processes import ROOT, Process
from tests.services import require_program

RECIPES = ROOT / "docs" / "deploy" / "nginx"
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


class Nginx(Front):
    """A recipe, served.

        with Nginx("unified.conf", tmp_path, server="127.0.0.1:43210") as nginx:
            httpx.get(nginx.url, headers={"Host": HOST})

    It takes its sockets over as one nginx does from the one before.

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
        program = require_program("nginx")
        directory.mkdir(exist_ok=True)
        self._log = directory / "error.log"
        if "server" in places:
            places.setdefault("second", places["server"])
        self._places = places
        self._changes = dict(changes or {})
        with two_ports() as sockets:
            self._addresses = {
                port: "{}:{}".format(*each.getsockname())
                for port, each in zip(("80", "443"), sockets, strict=True)
            }
            self._write(recipe, directory)
            super().__init__(
                [program, "-p", directory, "-e", self._log, "-c", directory / "nginx.conf"],
                directory,
                sockets,
                {"NGINX": "".join(f"{each.fileno()};" for each in sockets)},
            )

    def _write(self, recipe: str, directory: Path) -> None:
        shutil.copytree(RECIPES / "conf.d", directory / "conf.d", dirs_exist_ok=True)
        shutil.copytree(RECIPES / "snippets", directory / "snippets", dirs_exist_ok=True)
        shutil.copy(RECIPES / recipe, directory / "recipe.conf")
        for file in directory.rglob("*.conf"):
            file.write_text(self._placed(file.read_text(encoding="utf-8")), encoding="utf-8")
        assert not self._changes, f"not in {recipe}: {list(self._changes)}"
        main = directory / "nginx.conf"
        types = directory / "mime.types"
        types.write_text(_TYPES)
        # Workers of root's nginx would be nobody, who may not look into a directory of the tests.
        user = "user root;" if os.geteuid() == 0 else ""
        main.write_text(_MAIN.format(directory=directory, types=types, user=user))

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
        return f"{match[1]}{self._addresses[match[2]]}"

    @property
    def problems(self) -> list[str]:
        """What it complains about in its log."""
        return _PROBLEM.findall(self._log.read_text())


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
    options = command_in(f"nginx/{recipe}", places)
    return Process(app, *options, *more, environ=environ)


def upstream(process: Process) -> str:
    """Where it listens, as nginx writes it."""
    return process.url.removeprefix("http://")
