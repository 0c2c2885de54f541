"""Certificates, and the TLS contexts that are made of them: loaded, chosen by name, loaded anew.

It knows no connection: it gives out `ssl.SSLObject`s, and says what became of their handshakes.
"""

import os
import re
import ssl
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from .config import Config, Tls
from .declarations import ConfigError
from .listener import reason
from .logs import server_log
from .tls_ciphers import forbidden_suite, set_ciphers
from .tls_facts import facts
from .tls_options import KeyPair
from .x509_names import Names, read_names

_OF_CHAIN = "--endpoint extraCertChain"
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
_TRIES = 3  # for a certificate that is replaced while it is loaded

_Stamp = tuple[int, int, int, int] | None


class Certificates:
    """The certificates of one listener or more, and the contexts of their connections.

    Args:
        pairs: The certificates, at least one; the first is for clients that want none of the
        others' names.
        tls: All other options.
        http2: Whether HTTP/2 is offered.

    Attributes:
        context: For new connections. It may change; theirs stays the same.

    Raises:
        ConfigError: Something cannot be loaded.
    """

    def __init__(self, pairs: tuple[KeyPair, ...], tls: Tls, *, http2: bool) -> None:
        # The application may change the current directory.
        self._pairs = [_absolute(pair) for pair in pairs]
        self._tls = tls
        self._authorities = os.path.abspath(tls.ca_certs) if tls.ca_certs is not None else None
        self._protocols = ["h2", "http/1.1"] if http2 else ["http/1.1"]
        files = [*(file for pair in self._pairs for file in pair[:3]), self._authorities]
        self._files = list(dict.fromkeys(filter(None, files)))
        self._identities: WeakKeyDictionary[ssl.SSLContext, _Identity] = WeakKeyDictionary()
        # Before the files are read: what changes meanwhile is seen as a change.
        self._tried = self._seen = self._stamps()
        self.context = self._load()

    @property
    def serials(self) -> str:
        """The serial numbers of the certificates, as OpenSSL writes them."""
        texts = [f"{serial:X}" for serial in self._serials]
        return ", ".join("0" * (len(text) % 2) + text for text in texts)

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """The server's side of a new connection."""
        return self.context.wrap_bio(incoming, outgoing, server_side=True)

    def facts(self, connection: ssl.SSLObject) -> dict[str, Any]:
        """ASGI's `tls` extension for a connection whose handshake is complete.

        Raises:
            ValueError: The client's certificate cannot be read, though OpenSSL took it.
        """
        identity = self._identities[connection.context]
        return facts(connection, identity.certificate, identity.suites)

    def reload(self) -> None:
        """Load everything anew, for new connections; if anything is wrong, go on with the old."""
        self._tried = self._seen = self._stamps()
        try:
            self.context = self._load()
        except ConfigError as error:
            server_log.error("The certificates stay as they were: %s", error)
        else:
            server_log.info("Certificates loaded, with the serial numbers %s", self.serials)

    def check(self) -> None:
        """Once a second: reload when files have changed, and are not being written any more."""
        stamps = self._stamps()
        if stamps == self._tried:
            self._seen = stamps
        elif stamps == self._seen:  # stood still: certificate and key belong together
            self.reload()
        else:
            self._seen = stamps

    def _stamps(self) -> list[_Stamp]:
        return [_stamp(file) for file in self._files]

    def _load(self) -> ssl.SSLContext:
        contexts: list[ssl.SSLContext] = []
        by_name: dict[str, ssl.SSLContext] = {}
        serials = []
        authorities = self._read_authorities()
        for pair in self._pairs:
            context, names = self._load_pair(pair, authorities)
            if contexts and by_name.keys() >= set(names.dns):
                server_log.warning(
                    "%s: %r is never used: the certificates before it have all of its names",
                    pair.labels[0],
                    pair.certificate,
                )
            contexts.append(context)
            serials.append(names.serial)
            for name in names.dns:
                by_name.setdefault(name, context)
        if len(contexts) > 1:
            contexts[0].sni_callback = _chooser(by_name)
        self._serials = serials
        return contexts[0]

    def _new_context(self, authorities: str) -> ssl.SSLContext:
        tls = self._tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[tls.tls_min_version]
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        # All that are left are good: a client knows which of them its hardware is good at.
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(self._protocols)
        set_ciphers(context, tls.ciphers)
        if authorities:
            try:
                context.load_verify_locations(cadata=authorities)
            except ssl.SSLError as error:
                raise ConfigError(
                    f"--ca-certs: cannot load {self._authorities!r}: {_explained(error)}"
                ) from None
            is_required = tls.client_certs == "required"
            context.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
        return context

    def _read_authorities(self) -> str:
        """Their certificates, PEM; empty if there are none."""
        if self._authorities is None:
            return ""
        content = _read("--ca-certs", self._authorities)
        if not _CERTIFICATE.search(content):
            raise ConfigError(f"--ca-certs: {self._authorities!r} has no certificate in PEM")
        # What is no ASCII is a comment: bundles have names in them.
        return content.decode("ascii", "ignore")

    def _load_pair(self, pair: KeyPair, authorities: str) -> tuple[ssl.SSLContext, Names]:
        """A context with a certificate, and what that says of itself.

        OpenSSL reads the file by itself, so it is read before and after: only if both are the same,
        it is certain what clients are shown.
        """
        label, file = pair.labels[0], pair.certificate
        content = _read(label, file)
        for _ in range(_TRIES):
            context = self._new_context(authorities)
            certificate, names = self._load_into(context, pair, content)
            before, content = content, _read(label, file)
            if content == before:
                suites = {suite["name"]: suite["id"] & 0xFFFF for suite in context.get_ciphers()}
                self._identities[context] = _Identity(certificate, suites)
                return context, names
        raise ConfigError(f"{label}: {file!r} changes while it is loaded")

    def _load_into(
        self, context: ssl.SSLContext, pair: KeyPair, content: bytes
    ) -> tuple[str, Names]:
        """Put a certificate into a context; returns it, PEM, and what it says of itself."""
        of_certificate, of_key = pair.labels
        first = _CERTIFICATE.search(content)
        if first is None:
            raise ConfigError(f"{of_certificate}: {pair.certificate!r} has no certificate in PEM")
        if not _KEY.search(_read(of_key, pair.key)):
            is_same = pair.key == pair.certificate and of_key == "--keyfile"
            hint = ", and there is no --keyfile for it" if is_same else ""
            raise ConfigError(f"{of_key}: {pair.key!r} has no private key in PEM{hint}")
        if not pair.chain:
            self._load_files(context, pair, pair.certificate)
        else:
            chain = _read(_OF_CHAIN, pair.chain)
            if not _CERTIFICATE.search(chain):
                raise ConfigError(f"{_OF_CHAIN}: {pair.chain!r} has no certificate in PEM")
            # OpenSSL takes a chain in the certificate's own file only.
            self._load_content(context, pair, content + b"\n" + chain)
        try:
            der = ssl.PEM_cert_to_DER_cert(first[0].decode("ascii"))
            return ssl.DER_cert_to_PEM_cert(der), read_names(der)
        except ValueError as error:
            raise ConfigError(f"{of_certificate}: {pair.certificate!r}: {error}") from None

    def _load_content(self, context: ssl.SSLContext, pair: KeyPair, content: bytes) -> None:
        import tempfile  # not at the top: hardly any start needs it

        try:
            with tempfile.NamedTemporaryFile() as file:
                file.write(content)
                file.flush()
                self._load_files(context, pair, file.name)
        except OSError as error:
            raise ConfigError(f"{_OF_CHAIN}: no temporary file: {reason(error)}") from None

    def _load_files(self, context: ssl.SSLContext, pair: KeyPair, certificate: str) -> None:
        of_certificate, of_key = pair.labels
        password = _Password(self._tls.keyfile_password)
        try:
            context.load_cert_chain(certificate, pair.key, password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ConfigError(
                    f"{of_key}: {pair.key!r} is not the key of the certificate {pair.certificate!r}"
                ) from None
            if not password.is_asked_for:
                raise ConfigError(
                    f"{of_certificate}: cannot load {pair.certificate!r} with the key "
                    f"{pair.key!r}: {_explained(error)}"
                ) from None
            if password.text is None:
                raise ConfigError(
                    f"{of_key}: {pair.key!r} is encrypted: give --keyfile-password"
                ) from None
            raise ConfigError(
                f"--keyfile-password: it is not the password of {pair.key!r}"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"{of_certificate}: cannot read {certificate!r}: {reason(error)}"
            ) from None
        except ValueError as error:  # the password is too long
            raise ConfigError(f"--keyfile-password: {error}") from None


class _Identity(NamedTuple):
    """What a context shows to clients."""

    certificate: str  # PEM
    suites: Mapping[str, int]  # the numbers of the cipher suites


class _Password:
    """Called by OpenSSL for an encrypted key; without this, it would ask on the terminal."""

    def __init__(self, text: str | None) -> None:
        self.text = text
        self.is_asked_for = False

    def __call__(self) -> str:
        self.is_asked_for = True
        return self.text or ""  # an empty one is wrong


def load_certificates(
    config: Config, pairs: Iterable[tuple[KeyPair, ...]], directory: str = ""
) -> dict[tuple[KeyPair, ...], Certificates]:
    """Load those of each listener; those that are the same, once.

    Args:
        config: All options of TLS, and whether HTTP/2 is spoken.
        pairs: The certificates of each listener, if it has any.
        directory: Where the authorities' file is, if its name is relative; empty: here.

    Raises:
        ConfigError: Something cannot be loaded.
    """
    tls, http2 = config.tls, config.http2.http2
    if tls.ca_certs is not None:
        tls = replace(tls, ca_certs=os.path.join(directory, tls.ca_certs))
    wanted = list(dict.fromkeys(filter(None, pairs)))
    if wanted and http2 and (suite := forbidden_suite(tls.ciphers)):
        server_log.warning(
            "--ciphers: HTTP/2 is not offered over TLS, because it forbids %s of TLS 1.2", suite
        )
        http2 = False
    return {each: Certificates(each, tls, http2=http2) for each in wanted}


def _absolute(pair: KeyPair) -> KeyPair:
    chain = os.path.abspath(pair.chain) if pair.chain else ""
    return KeyPair(os.path.abspath(pair.certificate), os.path.abspath(pair.key), chain, pair.labels)


def _stamp(file: str) -> _Stamp:
    try:
        status = os.stat(file)
    except OSError:
        return None
    # The last for a change of its mode: a file that could not be read may be readable now.
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns


def _read(label: str, file: str) -> bytes:
    try:
        with open(file, "rb", opener=_open_at_once) as opened:
            if stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                return opened.read()
    except OSError as error:
        raise ConfigError(f"{label}: cannot read {file!r}: {reason(error)}") from None
    # A pipe gives its content once, and who reads it has to wait.
    raise ConfigError(f"{label}: cannot read {file!r}: it is no regular file")


def _open_at_once(file: str, flags: int) -> int:
    """Open a file without waiting for the other end of a FIFO."""
    return os.open(file, flags | os.O_NONBLOCK)


def _explained(error: ssl.SSLError) -> str:
    """What OpenSSL says, in words, if it says anything."""
    return (error.reason or "it is damaged").lower().replace("_", " ")


_Choose = Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]


def _chooser(by_name: Mapping[str, ssl.SSLContext]) -> _Choose:
    """The callback that chooses a context by the name that the client asks for (RFC 6066)."""

    def choose(connection: ssl.SSLObject, name: str | None, default: ssl.SSLContext) -> None:
        if name is None:
            return
        for wanted in _candidates(name.lower().removesuffix(".")):
            if wanted in by_name:
                connection.context = by_name[wanted]
                return

    return choose


def _candidates(name: str) -> Iterator[str]:
    """A name, and the wildcard that stands for it: for one label, the leftmost (RFC 6125 6.4.3)."""
    yield name
    yield "*." + name.partition(".")[2]
