"""The programs of the system's packages that some tests drive."""

import os
import shutil

import pytest


def require_program(name: str) -> str:
    """Find a program on the path; without it skip the test.

    With `ASERVER_REQUIRE_SERVICES=1` in the environment the test fails instead: nothing is left
    out unseen where everything is said to be installed.
    """
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"needs {name}, which is not installed"
    if os.environ.get("ASERVER_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
