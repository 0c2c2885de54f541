"""The cipher suites of TLS 1.2: what is spoken, and what HTTP/2 has to say of them.

Those of TLS 1.3 are all good, and cannot be chosen.
"""

import ssl

from .declarations import ConfigError

# RFC 9113 section 9.2.2 forbids all others, and they are of no use to HTTP/1.1 either.
_DEFAULT = "ECDHE+AESGCM:ECDHE+CHACHA20"
_EPHEMERAL = ("kx-ecdhe", "kx-dhe")


def set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    """Let a context speak these, as OpenSSL has them; empty: the default.

    Raises:
        ConfigError: There is none that OpenSSL knows.
    """
    try:
        context.set_ciphers(ciphers or _DEFAULT)
    except ssl.SSLError:
        raise ConfigError(f"--ciphers: OpenSSL knows no cipher of TLS 1.2 in {ciphers!r}") from None


def forbidden_suite(ciphers: str) -> str:
    """The first cipher suite that RFC 9113 section 9.2.2 forbids; empty if there is none.

    Its appendix A has all that lack an ephemeral key exchange, authenticated encryption, or any
    authentication. A client may end a connection of HTTP/2 that came to one of them.

    Raises:
        ConfigError: There is none that OpenSSL knows.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    set_ciphers(context, ciphers)
    for suite in context.get_ciphers():
        is_authentic = suite["aead"] and suite["auth"] != "auth-null"
        is_good = is_authentic and suite["kea"].startswith(_EPHEMERAL)
        if suite["protocol"] != "TLSv1.3" and not is_good:
            return suite["name"]
    return ""
