"""`python -m aserver`."""

from .cli import entrypoint

entrypoint()
