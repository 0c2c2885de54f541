"""A real HAProxy that runs a recipe of docs/deploy/haproxy, with its addresses exchanged.

What a distribution's haproxy.cfg has is ours; the recipe is the file of the docs.
"""

from collections.abc import Mapping
from pathlib import Path
from signal import SIGTERM

from tests.certificates import Authority
from tests.deploy.fronts import HOST, Front, two_ports
from tests.deploy.programs import recipe
from tests.services import require_program

_MAIN = """
defaults
    log stdout format raw local0
    option log-health-checks
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""


class Haproxy(Front):
    """A recipe, served. With the authority it has a certificate."""

    asked_to_end = -SIGTERM

    def __init__(
        self,
        file: str,
        directory: Path,
        places: Mapping[str, str],
        authority: Authority | None = None,
    ) -> None:
        program = require_program("haproxy")
        directory.mkdir(exist_ok=True)
        with two_ports() as (plain, tls):
            changes = {**places, "bind :443": f"bind fd@{tls.fileno()}"}
            if file != "passthrough.cfg":
                changes["bind :80"] = f"bind fd@{plain.fileno()}"
            if authority is not None:
                own = authority.issue(HOST)
                both = directory / "example.com.pem"
                both.write_bytes(Path(own.certificate).read_bytes() + Path(own.key).read_bytes())
                changes["/etc/haproxy/example.com.pem"] = str(both)
            (directory / "haproxy.cfg").write_text(_MAIN + recipe(f"haproxy/{file}", changes))
            super().__init__([program, "-db", "-f", "haproxy.cfg"], directory, (plain, tls))
