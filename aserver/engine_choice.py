"""Which engines, and what else the options choose: imported only then."""

from .declarations import ConfigError
from .engines.h2_wire import NewWire, Wire, WireSettings
from .engines.ws_deflate import Deflate
from .engines.ws_frames import Frames, NewFrames
from .logs import server_log
from .proxy_options import NEARBY, Proxy
from .seams import Parser
from .worker_seams import Forwarder


def choose_parser(name: str) -> Parser:
    """The HTTP/1 parser by its name in `--http`; one worker's, not to be shared."""
    if name != "h11":
        try:
            from .engines.h1_httptools import HttpToolsParser
        except ImportError:
            if name != "auto":
                raise ConfigError("--http httptools: httptools is not installed") from None
        else:
            return HttpToolsParser().parse
    from .engines.h1_h11 import parse

    return parse


def choose_frames(name: str) -> NewFrames | None:
    """What makes the WebSocket frame engine by its name in `--ws`; None for "none"."""
    return None if name == "none" else _wsproto_frames


def _wsproto_frames(deflate: Deflate | None, most: float) -> Frames:
    from .engines.ws_wsproto import WsprotoFrames  # 20 ms, for those who have WebSockets

    return WsprotoFrames(deflate, most)


def choose_wire(*, http2: bool) -> NewWire | None:
    """What makes the wire of an HTTP/2 connection; None if HTTP/2 is switched off."""
    return _library_wire if http2 else None


def _library_wire(settings: WireSettings) -> Wire:
    from .engines.h2_library import H2Library  # 20 ms, for those who have HTTP/2

    return H2Library(settings)


def choose_forwarding(proxy: Proxy) -> Forwarder | None:
    """Who knows which proxies are believed; None without --proxy-headers.

    Raises:
        ConfigError: The options do not fit together, or name what is no network or no header.
    """
    proxy.check()
    if not proxy.proxy_headers:
        if proxy.forwarded_allow_ips != NEARBY:
            server_log.warning("--forwarded-allow-ips: nobody is believed without --proxy-headers")
        return None
    from .forwarding import Forwarding  # 4 ms, for those who have proxies

    return Forwarding(proxy)
