"""The statement of an image: what its publisher says of the file, and signs.

It is a small document beside the file, so that a signature takes no time and covers the version too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from moorage.model.errors import BadInput

STATEMENT, SIGNATURE = "moorage_statement", "moorage_signature"
"""Properties of an image in Glance: the statement's text, and the text of its signature."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
TRUSTED = "moorage_trusted_keys"
"""A property: the ids of the keys that its nodes trust, with commas between them; missing when they trust none."""
SUFFIX, SIGNATURE_SUFFIX = ".json", ".json.minisig"
"""Of the files beside the image's."""


@dataclass(frozen=True)
class Statement:
    """`file` is the image's file, without a folder; `size` and `sha256` are its size in bytes and its hash.

    `min_disk` in GB, `min_memory` in MiB.
    """

    name: str
    file: str
    size: int
    sha256: str
    disk_format: str
    min_disk: int
    min_memory: int
    properties: Mapping[str, str]

    @property
    def text(self) -> str:
        """The document; the same statement has the same text."""
        return json.dumps(asdict(self), sort_keys=True) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the document; BadInput."""
        try:
            made = cls(**json.loads(text))
            valid = (
                all(isinstance(getattr(made, name), str) for name in ("name", "file", "sha256", "disk_format"))
                and all(isinstance(getattr(made, name), int) for name in ("size", "min_disk", "min_memory"))
                and isinstance(made.properties, dict)
                and all(isinstance(value, str) for value in made.properties.values())
            )
        except (ValueError, TypeError) as error:
            raise BadInput(f"this is not the statement of an image: {error}") from error
        if not valid or not re.fullmatch(r"[0-9a-f]{64}", made.sha256) or not NAME.fullmatch(made.file):
            raise BadInput("this is not the statement of an image")
        return made
