"""A real Caddy that runs a recipe of docs/deploy/caddy, with a certificate and without."""

from collections.abc import Mapping
from pathlib import Path

from tests.certificates import Authority
from tests.deploy.fronts import HOST, Front, two_ports
from tests.deploy.programs import accepts, recipe
from tests.services import require_program

# Caddy would ask for a certificate, and let itself be told what to do by anybody on this machine.
_MAIN = """
{
	admin off
	auto_https off
}
"""
_HOMES = ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")


class Caddy(Front):
    """A recipe, served."""

    def __init__(
        self, file: str, directory: Path, authority: Authority, places: Mapping[str, str]
    ) -> None:
        program = require_program("caddy")
        directory.mkdir(exist_ok=True)
        own = authority.issue(HOST)
        text, site = recipe(f"caddy/{file}", places), f"\n{HOST} {{"
        with two_ports(listening=False) as (plain, tls):
            ours = f"\nhttp://{HOST}:{plain.getsockname()[1]} {{"
            secure = f"\nhttps://{HOST}:{tls.getsockname()[1]} {{"
            secure += f"\n\ttls {own.certificate} {own.key}"
            (directory / "Caddyfile").write_text(
                _MAIN + text.replace(site, ours) + text.replace(site, secure)
            )
            super().__init__(
                [program, "run", "--config", "Caddyfile", "--adapter", "caddyfile"],
                directory,
                (plain, tls),
                dict.fromkeys(_HOMES, str(directory)),
            )
            try:
                self.wait_until(lambda: accepts(self.address) and accepts(self.tls_address))
            except AssertionError:  # nobody has entered its block
                self.end()
                raise
