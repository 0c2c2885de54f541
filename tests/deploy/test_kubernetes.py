"""docs/deploy/kubernetes: what the image runs, as process 1, and what the deployment promises.

That SIGTERM under load loses no request, `tests.test_lifecycle` shows.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from aserver.options import load
from tests.deploy.programs import DEPLOY, connect
from tests.processes import DEADLINE, ROOT, Program, get, in_threads, read_all
from tests.services import require_program

FOLDER = DEPLOY / "kubernetes"
CMD = json.loads(
    re.findall(r"^CMD (\[.*\])$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)[0]
)
# A namespace of processes of one's own: for root, and for others where the kernel lets them.
NAMESPACES = (["--pid", "--fork"], ["--user", "--map-root-user", "--pid", "--fork"])


@pytest.fixture(scope="module")
def deployment() -> dict[str, Any]:
    documents = list(yaml.safe_load_all((FOLDER / "deployment.yaml").read_text()))
    deployment, service = documents
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert isinstance(deployment, dict)
    return deployment


def test_the_pod_has_time_for_the_longest_end(deployment: dict[str, Any]) -> None:
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    config = load(CMD[1:], {}).config
    grace = config.limits.graceful_timeout
    _, pause = container["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] >= float(pause) + 2 * grace + 10
    (port,) = container["ports"]
    assert config.bind.bind == (f"0.0.0.0:{port['containerPort']}",)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert load(CMD[1:], variables).config.proxy.forwarded_allow_ips == ("10.0.0.0/8",)


def namespace() -> list[str]:
    """A command that runs another as process 1."""
    program = require_program("unshare")
    for options in NAMESPACES:
        command = [program, *options, "--kill-child"]
        done = subprocess.run(
            [*command, "true"], capture_output=True, timeout=DEADLINE, check=False
        )
        if done.returncode == 0:
            return command
    pytest.skip("needs a namespace of processes, which this user may not have here")


def test_as_process_1_it_ends_in_order(tmp_path: Path) -> None:
    program, *options, _ = ("127.0.0.1:0" if each == "0.0.0.0:8000" else each for each in CMD)
    assert program == "aserver"
    served = [sys.executable, "-m", "aserver", *options, "--app-dir", str(ROOT), "tests.served:app"]
    answers: list[bytes] = []

    def ask(path: str) -> None:
        with connect(address) as sock:
            sock.sendall(get(path, "Connection: close"))
            answers.append(read_all(sock))

    with Program([*namespace(), *served], cwd=tmp_path) as container:
        listening = re.compile(r"Listening on http://(127\.0\.0\.1):(\d+)")
        container.wait_until(lambda: listening.search(container.output) is not None)
        (host, port), *_ = listening.findall(container.output)
        address = (host, int(port))
        ask("/hello")
        container.wait_until(lambda: '"GET /hello" 200' in container.output)
        children = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text()
        (pid,) = map(int, children.split())
        with in_threads(*[lambda: ask("/wait?0.3")] * 5):
            container.wait_until(lambda: container.output.count("note: waiting") == 5)
            os.kill(pid, signal.SIGTERM)
        assert container.exit_code() == 0
    assert [each[:12] for each in answers] == [b"HTTP/1.1 200"] * 6
