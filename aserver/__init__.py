"""aserver: an ASGI server that is correct to the byte, safe by default and fast.

`run(app, config)` serves until a signal; `Server(app, config)` runs in an event loop of yours;
`aserver.testing.serve` is for tests.
"""

__version__ = "0.1.0"

from .config import Config
from .running import run
from .server import Server

__all__ = ["Config", "Server", "__version__", "run"]
