from .config import Config
from .running import run
from .server import Server

__version__: str
__all__ = ["Config", "Server", "__version__", "run"]
