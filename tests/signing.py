"""Keys and signatures as minisign(1) makes them, for tests."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Signer:
    """A key pair without a password."""

    def __init__(self) -> None:
        self.key, self.id = Ed25519PrivateKey.generate(), os.urandom(8)

    @property
    def public(self) -> str:
        """The content of its .pub file."""
        return f"untrusted comment: a key\n{_line(b'Ed', self.id, self.key.public_key().public_bytes_raw())}\n"

    def sign(self, message: bytes, comment: str = "signed by a test") -> str:
        """The content of a .minisig file."""
        inner = self.key.sign(hashlib.blake2b(message).digest())
        outer = self.key.sign(inner + comment.encode())
        head = f"untrusted comment: a signature\n{_line(b'ED', self.id, inner)}\n"
        return f"{head}trusted comment: {comment}\n{_line(outer)}\n"


def _line(*parts: bytes) -> str:
    return b64encode(b"".join(parts)).decode()
