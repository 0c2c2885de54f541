"""Records of TLS 1.3 that no client's library makes, encrypted as its own are (RFC 8446)."""

import hashlib
import hmac
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.tls_stage import DATA_RECORD, HANDSHAKE_RECORD

_CIPHER = "TLS_AES_256_GCM_SHA384"  # what OpenSSL likes best
_HASH = hashlib.sha384


class RecordMaker:
    """Takes a client's place behind its handshake: what it sends from now on is made here.

    Args:
        keys: The file to which the client's context has written its keys.
        cipher: What was agreed upon.
    """

    def __init__(self, keys: Path, cipher: str) -> None:
        assert cipher == _CIPHER
        lines = [line.split() for line in keys.read_text().splitlines()]
        secrets = [line[2] for line in lines if line[0] == "CLIENT_TRAFFIC_SECRET_0"]
        self._begin(bytes.fromhex(secrets[-1]))

    def _begin(self, secret: bytes) -> None:
        """Section 7.3: the keys of a secret."""
        self._secret = secret
        self._key = AESGCM(_expanded(secret, b"key", 32))
        self._first = int.from_bytes(_expanded(secret, b"iv", 12), "big")
        self._number = 0

    def record(self, content: bytes, kind: int = DATA_RECORD) -> bytes:
        """Section 5.2."""
        head = bytes([DATA_RECORD, 3, 3]) + (len(content) + 17).to_bytes(2, "big")
        nonce = (self._first ^ self._number).to_bytes(12, "big")
        self._number += 1
        return head + self._key.encrypt(nonce, content + bytes([kind]), head)

    def key_update(self, *, answered: bool = True) -> bytes:
        """Section 4.6.3: the next keys; the server shall change its own, too, or need not."""
        return self.part_of_a_key_update(0, 5, answered=answered)

    def part_of_a_key_update(self, begin: int, end: int, *, answered: bool = True) -> bytes:
        """Some of its five bytes: a message may be cut over records (section 5.1)."""
        message = bytes([24, 0, 0, 1, answered])
        made = self.record(message[begin:end], HANDSHAKE_RECORD)
        if end == len(message):
            self._begin(_expanded(self._secret, b"traffic upd", _HASH().digest_size))
        return made


def _expanded(secret: bytes, label: bytes, size: int) -> bytes:
    """Section 7.1: HKDF-Expand-Label, without a context. One block is enough for all there is."""
    full = b"tls13 " + label
    information = size.to_bytes(2, "big") + bytes([len(full)]) + full + b"\0"
    return hmac.new(secret, information + b"\x01", _HASH).digest()[:size]
