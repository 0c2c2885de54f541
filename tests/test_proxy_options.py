"""The options of proxies: what does not fit together is said."""

from typing import Any

import pytest

from aserver.config import Config
from aserver.declarations import ConfigError
from aserver.options import load
from aserver.proxy_options import Proxy


def test_by_default_nobody_is_believed() -> None:
    proxy = Proxy()
    assert not proxy.proxy_headers
    assert proxy.forwarded_allow_ips == ("127.0.0.0/8", "::1", "unix")
    assert proxy.proxy_headers_trust == ("for", "proto", "port")
    proxy.check()


@pytest.mark.parametrize("name", ["host", "port", "proto", "prefix"])
def test_a_name_without_proxy_headers(name: str) -> None:
    """Daphne's words, so that whoever looks for them finds them."""
    proxy = Proxy(**{f"proxy_headers_{name}": "X-Some"})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=rf"^--proxy-headers-{name}: --proxy-headers has to be p"):
        proxy.check()


def test_something_believed_without_proxy_headers() -> None:
    with pytest.raises(ConfigError, match=r"^--proxy-headers-trust: --proxy-headers has to be p"):
        Proxy(proxy_headers_trust=("for", "host")).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proxy_headers_trust": ()}, "--proxy-headers-trust: the list is empty"),
        ({"proxy_headers_prefix": "X-A"}, "--proxy-headers-prefix: it is not believed"),
        (
            {"proxy_headers_host": "X-A", "proxy_headers_trust": ("proto",)},
            r"--proxy-headers-host: it is not believed \(--proxy-headers-trust for\)",
        ),
        (
            {"proxy_headers_kind": "forwarded", "proxy_headers_host": "X-A"},
            "--proxy-headers-host: there is one header for all",
        ),
        (
            {"proxy_headers_kind": "forwarded", "proxy_headers_trust": ("for", "prefix")},
            "--proxy-headers-trust prefix: Forwarded has none",
        ),
    ],
)
def test_what_does_not_fit_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        Proxy(proxy_headers=True, **options).check()


@pytest.mark.parametrize(
    "options",
    [
        {"proxy_headers_prefix": "X-A", "proxy_headers_trust": ("for", "prefix")},
        {"proxy_headers_kind": "forwarded"},
        {"proxy_headers_host": "X-A", "proxy_headers_port": "X-B", "proxy_headers_proto": "X-C"},
    ],
)
def test_what_does(options: dict[str, Any]) -> None:
    Proxy(proxy_headers=True, **options).check()


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        (["--forwarded-allow-ips", "10.0.0.1,10.0.0.2"], {}, ("10.0.0.1", "10.0.0.2")),
        (
            ["--forwarded-allow-ips", "10.0.0.1, unix", "--forwarded-allow-ips", "::1"],
            {},
            ("10.0.0.1", "unix", "::1"),
        ),
        (["--forwarded-allow-ips", ""], {}, ()),
        ([], {"FORWARDED_ALLOW_IPS": "*"}, ("*",)),
        ([], {"FORWARDED_ALLOW_IPS": "10.0.0.1, unix,"}, ("10.0.0.1", "unix")),
        ([], {"FORWARDED_ALLOW_IPS": "*", "ASERVER_FORWARDED_ALLOW_IPS": "::1"}, ("::1",)),
        (["--forwarded-allow-ips", "unix"], {"FORWARDED_ALLOW_IPS": "*"}, ("unix",)),
    ],
)
def test_lists_with_commas(
    argv: list[str], environ: dict[str, str], expected: tuple[str, ...]
) -> None:
    assert load(argv, environ).config.proxy.forwarded_allow_ips == expected


def test_lists_in_python() -> None:
    assert Config.of(forwarded_allow_ips="a, b").proxy.forwarded_allow_ips == ("a", "b")
    assert Config.of(forwarded_allow_ips=["a", "b,c"]).proxy.forwarded_allow_ips == ("a", "b", "c")
    with pytest.raises(ConfigError, match="--forwarded-allow-ips: 1 is not a text"):
        Config.of(forwarded_allow_ips=[1])


def test_what_can_be_believed() -> None:
    with pytest.raises(ConfigError, match="--proxy-headers-trust: 'all' is not one of for, proto,"):
        Config.of(proxy_headers_trust="for,all")
