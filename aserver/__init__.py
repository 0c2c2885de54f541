"""aserver: an ASGI server that is correct to the byte, safe by default and fast.

`run(app, config)` serves until a signal; `Server(app, config)` runs in an event loop of yours;
`aserver.testing.serve` is for tests.

What is in `__all__` is imported when it is asked for: `__main__` has to do something before. Type
checkers read `__init__.pyi`.
"""

__version__ = "0.1.0"

__all__ = ["Config", "Server", "__version__", "run"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .config import Config
    from .running import run
    from .server import Server

    globals().update(Config=Config, Server=Server, run=run)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
