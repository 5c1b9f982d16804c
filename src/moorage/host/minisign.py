"""Verify signatures of minisign(1), by which people and programs sign files.

Source: https://jedisct1.github.io/minisign/#signature-format
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from moorage.model.errors import BadInput

ID, KEY, SIGNATURE = 8, 32, 64  # bytes
PURE, HASHED = b"Ed", b"ED"
TRUSTED = "trusted comment: "


@dataclass(frozen=True)
class PublicKey:
    """A public key; `id` tells keys apart."""

    id: bytes
    key: bytes

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read the content of a .pub file, or its line with the key alone; BadInput."""
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("untrusted comment:")]
        raw = _decode(lines[0], 2 + ID + KEY) if len(lines) == 1 else b""
        if not raw.startswith(PURE):
            raise BadInput("this is not a public key of minisign", "it is in the .pub file of: minisign -G")
        return cls(raw[2 : 2 + ID], raw[2 + ID :])

    @property
    def name(self) -> str:
        """The id as minisign shows it."""
        return self.id[::-1].hex().upper()


def verify(message: bytes, signature: str, keys: Sequence[PublicKey]) -> PublicKey:
    """The key of these that signed the message; BadInput when none did. `signature` is a .minisig file's content."""
    lines = signature.strip().splitlines()
    if len(lines) != 4 or not lines[2].startswith(TRUSTED):
        raise BadInput("this is not a signature of minisign")
    raw, outer = _decode(lines[1], 2 + ID + SIGNATURE), _decode(lines[3], SIGNATURE)
    kind, id, inner = raw[:2], raw[2 : 2 + ID], raw[2 + ID :]
    if kind not in (PURE, HASHED) or not outer:
        raise BadInput("this is not a signature of minisign")
    known = next((key for key in keys if key.id == id), None)
    if known is None:
        names = ", ".join(key.name for key in keys) or "none"
        raise BadInput(f"it is signed by the key {id[::-1].hex().upper()}, and trusted are: {names}")
    signed = hashlib.blake2b(message).digest() if kind == HASHED else message
    public = Ed25519PublicKey.from_public_bytes(known.key)
    try:
        public.verify(inner, signed)
        public.verify(outer, inner + lines[2].removeprefix(TRUSTED).encode())
    except InvalidSignature as error:
        raise BadInput(f"the signature of the key {known.name} does not match: it was changed") from error
    return known


def _decode(line: str, length: int) -> bytes:
    """The bytes of a line, empty unless they have this length."""
    try:
        raw = b64decode(line.strip(), validate=True)
    except binascii.Error:
        return b""
    return raw if len(raw) == length else b""
