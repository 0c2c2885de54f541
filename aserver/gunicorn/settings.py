"""What gunicorn's settings are in the server's options; and the options that gunicorn has not.

gunicorn itself is not imported here: `cfg` is always its `Config`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..access_format import compile_format
from ..config import ADDRESS_OPTIONS, APPLICATION_OPTIONS, Limits
from ..declarations import ConfigError
from ..options import load

# gunicorn kills a stopping worker when its graceful timeout is over. Who is cancelled then, and the
# lifespan, are to come to an end before that: they get a quarter of it, but no more than this.
_END_SECONDS = 3.0


def _peers(allowed: Sequence[str]) -> tuple[str, ...]:
    """Unix sockets are trusted, always."""
    return tuple(allowed) if "*" in allowed else (*allowed, "unix")


# gunicorn's settings, and the options that they are. Those that are at gunicorn's own default are
# left to aserver's.
_OPTIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "backlog": ("backlog", int),
    "keepalive": ("keep_alive", int),
    "limit_request_line": ("max_request_line", int),
    "limit_request_fields": ("max_header_count", int),
    "limit_request_field_size": ("max_header_size", int),
    "worker_connections": ("max_connections", int),
    "threads": ("threads", int),
    "root_path": ("root_path", str),
    "http_parser": ("http", {"auto": "auto", "fast": "httptools", "python": "h11"}.__getitem__),
    "http2_max_concurrent_streams": ("http2_max_streams", int),
    "asgi_loop": ("loop", str),
    "asgi_lifespan": ("lifespan", str),
    "asgi_disconnect_grace_period": ("application_close_timeout", int),
    "websocket_max_message_size": ("websocket_max_message_size", int),
    "certfile": ("certfile", str),
    "keyfile": ("keyfile", str),
    "ciphers": ("ciphers", str),
    "cert_reqs": ("client_certs", ("none", "optional", "required").__getitem__),
}
# Those that mean something to gunicorn's own workers and nothing here.
WITHOUT_EQUAL = (
    "pre_request",
    "post_request",
    "secure_scheme_headers",
    "forwarder_headers",
    "header_map",
    "permit_obsolete_folding",
    "strip_header_spaces",
    "permit_unconventional_http_method",
    "permit_unconventional_http_version",
    "casefold_http_method",
    "ssl_context",
    "ssl_version",
    "http2_cleartext",
    "http2_initial_window_size",
    "http2_max_frame_size",
    "http2_max_header_list_size",
)
# Options that are gunicorn's to say.
_ELSEWHERE = ADDRESS_OPTIONS | APPLICATION_OPTIONS


def is_set(cfg: Any, name: str) -> bool:
    """Whether somebody has set it; not every gunicorn has all of them."""
    setting = cfg.settings.get(name)
    return setting is not None and setting.get() != type(setting)().get()


def from_settings(cfg: Any) -> dict[str, Any]:
    """The options that gunicorn's settings say."""
    given = {
        option: convert(getattr(cfg, name))
        for name, (option, convert) in _OPTIONS.items()
        if is_set(cfg, name)
    }
    if "max_header_size" in given:  # there is no limit of all of them together
        size = given["max_header_size"]
        given["max_headers_size"] = size and max(size, Limits.max_headers_size)
    if given.get("client_certs", "none") != "none":
        given["ca_certs"] = cfg.ca_certs
    given["graceful_timeout"] = cfg.graceful_timeout - min(_END_SECONDS, cfg.graceful_timeout / 4)
    given["proxy_headers"] = True
    given["forwarded_allow_ips"] = _peers(cfg.forwarded_allow_ips)
    if is_proxied(cfg):
        given["proxy_protocol_allow_ips"] = _peers(cfg.proxy_allow_ips)
    if _is_simple(cfg):
        given |= {"access_log": cfg.accesslog, "access_log_format": cfg.access_log_format}
    return given


def is_proxied(cfg: Any) -> bool:
    """Whether connections begin with PROXY headers: a bool, and in later versions a word."""
    return cfg.proxy_protocol not in (False, "off")


def has_plain_logger(cfg: Any) -> bool:
    """Whether its logger is gunicorn's own, and not one that counts, sends or formats."""
    kind: type = cfg.logger_class
    return (kind.__module__, kind.__name__) == ("gunicorn.glogging", "Logger")


def _is_simple(cfg: Any) -> bool:
    """Whether aserver can write the access log: a file or standard output, in a known format."""
    others = (cfg.logconfig, cfg.logconfig_dict, cfg.logconfig_json, cfg.syslog)
    if not cfg.accesslog or any(others) or not has_plain_logger(cfg):
        return False
    if cfg.accesslog != "-" and not os.access(cfg.accesslog, os.W_OK):
        return False  # the arbiter has opened it, as another user (--user)
    try:
        compile_format(cfg.access_log_format)
    except ConfigError:  # gunicorn writes a dash for an atom that does not exist
        return False
    return True


def from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    """The options of `ASERVER_*` variables, and of the file that one of them may name.

    Where to listen, and what to serve, is not taken from there.
    """
    ours = {name: value for name, value in environ.items() if name.startswith("ASERVER_")}
    settings = load((), ours)
    given = settings.origins.keys() - _ELSEWHERE
    return {name: value for name, value in settings.config.flat().items() if name in given}
