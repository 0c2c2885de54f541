"""The options of TLS, and the certificates that they name. No file is opened here.

A section of the tree in `aserver.config`, which says how options are declared.
"""

import os
from dataclasses import dataclass, fields
from typing import NamedTuple

from .declarations import ConfigError, option


class KeyPair(NamedTuple):
    """A certificate and its key: files, and how messages call them.

    Attributes:
        certificate: With its chain, or without.
        key: May be the same file.
        chain: Further certificates of the chain, in a file of their own; empty: there is none.
        labels: The options that named certificate and key.
    """

    certificate: str
    key: str
    chain: str = ""
    labels: tuple[str, str] = ("--certfile", "--keyfile")

    def within(self, directory: str) -> "KeyPair":
        """The same, with relative names that begin in this directory; empty: the current one."""
        chain = os.path.join(directory, self.chain) if self.chain else ""
        certificate, key = (os.path.join(directory, file) for file in self[:2])
        return KeyPair(certificate, key, chain, self.labels)


@dataclass(frozen=True)
class Tls:
    """TLS: on wherever there is a certificate, but never on unix sockets."""

    certfile: tuple[str, ...] = option(
        (),
        "--certfile",
        "--ssl-certfile",
        metavar="FILE",
        help="Speak TLS with this certificate, followed by its chain, PEM. May be repeated: the "
        "client's name for the server decides, and the first is for all other names.",
    )
    keyfile: tuple[str, ...] = option(
        (),
        "--keyfile",
        "--ssl-keyfile",
        metavar="FILE",
        help="Private key, PEM; repeated, in the order of --certfile. Default: the certificate's "
        "own file.",
    )
    keyfile_password: str | None = option(
        None,
        "--keyfile-password",
        "--ssl-keyfile-password",
        metavar="PASSWORD",
        secret=True,
        help="Password of encrypted keys. On the command line others can see it; in the "
        "environment they cannot.",
    )
    tls_min_version: str = option(
        "1.2",
        "--tls-min-version",
        choices=("1.2", "1.3"),
        help="Lowest version of TLS that is spoken.",
    )
    ciphers: str = option(
        "",
        "--ciphers",
        "--ssl-ciphers",
        metavar="LIST",
        ascii=True,
        help="Ciphers for TLS 1.2, as OpenSSL has them; empty: those with forward secrecy and "
        "authenticated encryption.",
    )
    ca_certs: str | None = option(
        None,
        "--ca-certs",
        "--ssl-ca-certs",
        metavar="FILE",
        help="Authorities that client certificates must come from, PEM.",
    )
    client_certs: str = option(
        "none",
        "--client-certs",
        choices=("none", "optional", "required"),
        help="Whether clients are asked for a certificate, and whether they must have one; a bad "
        "one is always refused.",
    )
    tls_handshake_timeout: float = option(
        10.0,
        "--tls-handshake-timeout",
        minimum=0,
        unit="seconds",
        help="Time for the TLS handshake; 0 is no limit.",
    )

    @property
    def pairs(self) -> tuple[KeyPair, ...]:
        """The certificates with their keys.

        Raises:
            ConfigError: There are keys without a certificate, or files without a name.
        """
        for label, files in (("--certfile", self.certfile), ("--keyfile", self.keyfile)):
            if "" in files:
                raise ConfigError(f"{label}: the name of the file is empty")
        if self.keyfile and not self.certfile:
            raise ConfigError("--keyfile: there is no certificate for it (--certfile)")
        if len(self.keyfile) > len(self.certfile):
            raise ConfigError(
                "--keyfile: there are more keys than certificates (--certfile): "
                f"{len(self.keyfile)} and {len(self.certfile)}"
            )
        own = self.certfile[len(self.keyfile) :]
        return tuple(map(KeyPair, self.certfile, self.keyfile + own))

    def check(self, *, has_certificate: bool) -> None:
        """Whether the options fit together, with a certificate (an endpoint's included) or without.

        Raises:
            ConfigError: They do not.
        """
        if self.ca_certs == "":
            raise ConfigError("--ca-certs: the name of the file is empty")
        if not has_certificate:
            self._check_plain()
        if self.client_certs != "none" and self.ca_certs is None:
            raise ConfigError(
                f"--client-certs {self.client_certs}: whose certificates? Give --ca-certs"
            )
        if self.client_certs == "none" and self.ca_certs is not None:
            # Who gives it believes that clients are checked.
            raise ConfigError("--ca-certs: no client is asked for a certificate (--client-certs)")
        if self.ciphers and self.tls_min_version == "1.3":
            raise ConfigError(
                "--ciphers: they are for TLS 1.2, which is not spoken (--tls-min-version 1.3)"
            )

    def _check_plain(self) -> None:
        """Without a certificate plain HTTP is served. Who sets anything up here wants TLS."""
        for each in fields(self):
            if getattr(self, each.name) != each.default:
                label = each.metadata["option"].long
                raise ConfigError(f"{label}: there is no certificate of the server (--certfile)")
