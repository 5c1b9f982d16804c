"""Published images: a statement beside the file, its signature by minisign(1), and the keys that are trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path

from moorage.cloud.port.images import ImageFile
from moorage.host.minisign import PublicKey, verify
from moorage.image import download
from moorage.model.errors import BadInput, Failed, NotFound
from moorage.model.image_statement import SIGNATURE, SIGNATURE_SUFFIX, STATEMENT, SUFFIX, TRUSTED, Statement

LIMIT = 1 << 16  # bytes of a statement, and of a signature


def trust(folder: Path, text: str) -> PublicKey:
    """Trust a public key from now on; BadInput when it is none."""
    key = PublicKey.parse(text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{key.name}.pub").write_text(text)
    return key


def trusted(folder: Path) -> tuple[str, ...]:
    """The trusted keys' files, always in the same order; BadInput for one that is damaged."""
    texts = tuple(file.read_text() for file in sorted(folder.glob("*.pub")))
    for text in texts:
        PublicKey.parse(text)
    return texts


def state(image: ImageFile) -> Path:
    """Write the statement of an image beside its file, if it is not there; returns it, for minisign to sign."""
    file = Path(f"{image.file}{SUFFIX}")
    sha256 = hash_of(image.file)
    size = image.file.stat().st_size
    made = Statement(
        *(image.name, image.file.name, size, sha256, image.disk_format, image.min_disk, image.min_memory),
        properties=image.properties,
    )
    if not file.exists() or file.read_text() != made.text:
        Path(f"{image.file}{SIGNATURE_SUFFIX}").unlink(missing_ok=True)
        file.write_text(made.text)
    return file


def hash_of(file: Path) -> str:
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def with_signature(image: ImageFile, keys: Sequence[str]) -> ImageFile:
    """The image with its signed statement among its properties, if it is signed.

    BadInput for a signature that does not match; with trusted keys also for none.
    """
    statement, signature = Path(f"{image.file}{SUFFIX}"), Path(f"{image.file}{SIGNATURE_SUFFIX}")
    if not signature.exists():
        if keys:
            raise BadInput(
                f"{image.name} is not signed, and nodes accept signed images only", f"minisign -Sm {statement}"
            )
        return image
    text, signed = statement.read_text(), signature.read_text(errors="replace")
    if keys:
        verify(text.encode(), signed, _parsed(keys))
    return replace(image, properties={**image.properties, STATEMENT: text, SIGNATURE: signed})


def load(statement: Path) -> ImageFile:
    """The image of a statement's file, which is beside it; NotFound, BadInput."""
    try:
        stated = Statement.parse(statement.read_text(errors="replace"))
    except OSError as error:
        raise NotFound(f"no statement {statement}", "moorage image fetch, or moorage image build") from error
    file = statement.with_name(stated.file)
    if not file.is_file() or hash_of(file) != stated.sha256:
        raise BadInput(f"{file} is not the file of {statement.name}", "moorage image fetch")
    sizes = (stated.min_disk, stated.min_memory)
    return ImageFile(stated.name, file, *sizes, properties=stated.properties, disk_format=stated.disk_format)


def fetch(address: str, keys: Sequence[str], folder: Path, report: Callable[[str], None]) -> Path:
    """Download a published image by its statement's address; returns the statement, beside the image in `folder`.

    The signature is at the same address with `.minisig`, the file beside them. BadInput without a signature of one of
    these keys, Failed for what does not match or cannot be reached. It resumes.
    """
    download.check_address("--from", address)
    if not keys:
        raise BadInput("no key is trusted, so no image can be verified", "moorage image trust KEY.pub")
    text, signature = download.read(address, LIMIT), download.read(f"{address}.minisig", LIMIT)
    key = verify(text.encode(), signature, _parsed(keys))
    stated = Statement.parse(text)
    report(f"{stated.name} is signed by {key.name}")
    if key.name not in stated.properties.get(TRUSTED, "").split(","):
        report(f"nodes of {stated.name} accept updates without a signature of {key.name}: it was built without it")
    own = folder / stated.sha256[:16]
    size = stated.size / 2**20

    def sent(count: int) -> None:
        report(f"downloading {stated.file}: {count * 10 // max(stated.size, 1)}0 % of {size:.0f} MiB")

    try:
        download.fetch(_beside(address, stated.file), stated.size, stated.sha256, own / stated.file, sent)
    except download.Mismatch as wrong:
        raise Failed(f"{stated.file} {wrong}; it is not what was signed", "another address") from wrong
    (own / f"{stated.file}{SIGNATURE_SUFFIX}").write_text(signature)
    statement = own / f"{stated.file}{SUFFIX}"
    statement.write_text(text)
    return statement


def _beside(address: str, name: str) -> str:
    return f"{address.rpartition('/')[0]}/{name}"


def _parsed(keys: Sequence[str]) -> list[PublicKey]:
    return [PublicKey.parse(text) for text in keys]
