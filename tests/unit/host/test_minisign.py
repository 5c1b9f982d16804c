"""Signatures of minisign: one that the program itself made, and what is wrong with others."""

import pytest

from moorage.host.minisign import PublicKey, verify
from moorage.model.errors import BadInput
from signing import Signer

pytestmark = pytest.mark.unit

KEY = "RWT7HqrEfCopYnlz1omUATMWnj066ErYrEt506srLimWQjay8XmQzfGj"
MESSAGE = b"hello\n"
SIGNATURE = """\
untrusted comment: signature from minisign secret key
RUT7HqrEfCopYqVsW8vpH9jzMa1eVc/3ZN2y22vgoyU5OUQPgM9jrntYrjJesGqBAdpBTWoKpe11vpYV61gDSdPu6NS3iqt5ggA=
trusted comment: x
tjIa2HCalNqJi8762FW0VNHLwOVtyeIwC5HT9etjTI4Vwlo+wvxm+7snoGnq7ccEDLBRR06rQiw/PId/H9yQDg==
"""
"""Of minisign 0.11."""


@pytest.mark.parametrize("text", [KEY, f"untrusted comment: minisign public key\n{KEY}\n"])
def test_signature_of_the_program_is_verified(text):
    key = PublicKey.parse(text)
    assert key.name == "62292A7CC4AA1EFB"
    assert verify(MESSAGE, SIGNATURE, [PublicKey.parse(Signer().public), key]) == key


@pytest.mark.parametrize(
    ("message", "old", "new", "reason"),
    [
        (b"hello!\n", "", "", "does not match"),
        (MESSAGE, "trusted comment: x", "trusted comment: y", "does not match"),
        (MESSAGE, "tjIa2HCa", "AAAAAAAA", "does not match"),
        (MESSAGE, "tjIa2HCa", "", "not a signature of minisign"),
        (MESSAGE, "RUT7", "AAAA", "not a signature of minisign"),
        (MESSAGE, "RUT7HqrE", "RUT7HqrF", "signed by the key .*, and trusted are: 62292A7CC4AA1EFB"),
        (MESSAGE, SIGNATURE, "", "not a signature of minisign"),
        (MESSAGE, SIGNATURE, "<html>\n" * 4, "not a signature of minisign"),
    ],
)
def test_what_was_changed_is_refused(message, old, new, reason):
    changed = SIGNATURE.replace(old, new) if old else SIGNATURE
    with pytest.raises(BadInput, match=reason):
        verify(message, changed, [PublicKey.parse(KEY)])


def test_every_changed_character_of_a_signature_is_refused():
    signer = Signer()
    text, keys = signer.sign(MESSAGE), [PublicKey.parse(signer.public)]
    first, *lines = text.splitlines(keepends=True)
    signed = "".join(lines)
    assert verify(MESSAGE, text, keys) == keys[0]
    for place, character in enumerate(signed):
        if character in "\n=" or signed[place + 1 : place + 2] == "=":
            continue  # the last character before `=` has bits that no byte uses
        other = "A" if character != "A" else "B"
        with pytest.raises(BadInput):
            verify(MESSAGE, first + signed[:place] + other + signed[place + 1 :], keys)


@pytest.mark.parametrize("text", ["", "hello", KEY[:-4], KEY + "\n" + KEY, "AAAA" + KEY[4:]])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(BadInput, match="not a public key of minisign"):
        PublicKey.parse(text)


def test_no_key_is_trusted():
    with pytest.raises(BadInput, match="trusted are: none"):
        verify(MESSAGE, SIGNATURE, [])
