"""A random secret key that every process of this checkout shares and no repository holds."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from django.core.management.utils import get_random_secret_key


def secret_key(path: Path) -> str:
    """Read the key at `path`; the first to ask makes it."""
    if not path.exists():
        with NamedTemporaryFile("w", dir=path.parent, prefix=".secret-key-") as draft:
            draft.write(get_random_secret_key())
            draft.flush()
            # A link appears complete or not at all, and only one of several processes wins.
            with suppress(FileExistsError):
                os.link(draft.name, path)
    return path.read_text()
