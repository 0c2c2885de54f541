"""The certificate of a run: one for all servers, made anew, and forgotten with the run's folder.

Its key is an elliptic one (P-256): a handshake with it is cheap, so that what is measured is the
traffic, and every server takes it.
"""

import ssl
from pathlib import Path

import trustme

from benchmarks.servers import CERTIFICATE, HOST, KEY

AUTHORITY = "authority.pem"


def write(folder: Path) -> None:
    """Put what the servers and the checking client need into a folder."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    issued = authority.issue_cert(HOST, key_type=trustme.KeyType.ECDSA)
    (folder / CERTIFICATE).write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(folder / KEY))
    authority.cert_pem.write_to_path(str(folder / AUTHORITY))


def trusting(folder: Path) -> ssl.SSLContext:
    """What a client checks a server of this run with."""
    return ssl.create_default_context(cafile=str(folder / AUTHORITY))
