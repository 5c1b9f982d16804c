"""The slots of a boot partition: which node image boots next, and how many attempts it has left.

The record is a file that GRUB can change, its environment block (grub-editenv(1)): `order` has the names of the slots,
first the one to boot; `left_NAME` the attempts of one that has not been healthy yet; `version_NAME` its image. GRUB
follows the same rules in `image/disk/grub.cfg`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

RECORD = "grub/grubenv"  # on the boot partition
HEADER, SIZE = "# GRUB Environment Block", 1024
NAMES = ("a", "b")
SQUASHFS, DISK = "squashfs", "disk"
"""Formats of images, as in their property moorage_format: for machine containers, and for servers that GRUB boots."""
TRIES = 3


@dataclass(frozen=True)
class Slot:
    """A place for an image. `left` is None once the image has been healthy; with 0 left it is bad."""

    name: str
    version: str
    left: int | None = None

    @property
    def folder(self) -> str:
        """Its path on the boot partition."""
        return f"slots/{self.name}"

    def __str__(self) -> str:
        return f"{self.name} ({self.version})"


@dataclass(frozen=True)
class BootRecord:
    """The slots, first the one to boot, and what else the file has, such as the kernel's `options`."""

    slots: tuple[Slot, ...] = ()
    others: tuple[tuple[str, str], ...] = field(default=())

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read the file; ValueError when it is not GRUB's environment block."""
        lines = content.decode(errors="replace").splitlines()
        if lines[:1] != [HEADER]:
            raise ValueError("it is not an environment block of GRUB")
        values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        names = values.pop("order", "").split()
        slots = tuple(_slot(name, values) for name in names)
        return cls(slots, tuple(values.items()))

    def content(self) -> bytes:
        """The file's content, which has a fixed size: GRUB writes into it in place."""
        values = {"order": " ".join(slot.name for slot in self.slots)}
        for slot in self.slots:
            values[f"version_{slot.name}"] = slot.version
            if slot.left is not None:
                values[f"left_{slot.name}"] = str(slot.left)
        text = f"{HEADER}\n" + "".join(f"{name}={value}\n" for name, value in (*values.items(), *self.others))
        return text.encode().ljust(SIZE, b"#")

    @property
    def next(self) -> Slot | None:
        """The slot to boot: the first one that is not bad, else the first one; None without slots.

        An image that may not boot is better than no image.
        """
        return next((slot for slot in self.slots if slot.left != 0), self.slots[0] if self.slots else None)

    def counted_down(self) -> Self:
        """The record after an attempt has begun; a healthy or a bad slot is not counted."""
        slot = self.next
        return self._with(replace(slot, left=slot.left - 1)) if slot and slot.left else self

    def blessed(self, name: str) -> Self:
        """The record after the image in this slot came up healthy; the same one when there is no such slot.

        Slots before it were passed over, because they could not be started: they are bad.
        """
        names = [slot.name for slot in self.slots]
        if name not in names:
            return self
        place = names.index(name)
        bad = (replace(slot, left=0) for slot in self.slots[:place])
        return replace(self, slots=(*bad, replace(self.slots[place], left=None), *self.slots[place + 1 :]))

    def rejected(self, name: str) -> Self:
        """The record after the image in this slot failed for good."""
        slot = self.slot(name)
        return self._with(replace(slot, left=0)) if slot else self

    def slot(self, name: str) -> Slot | None:
        """The slot of that name."""
        return next((slot for slot in self.slots if slot.name == name), None)

    def installed(self, version: str) -> Self:
        """The record with an image in a slot, the first to boot, with three attempts; the same one if it has it.

        It takes the place of the image that would not boot next.
        """
        if any(slot.version == version for slot in self.slots):
            return self
        used = {slot.name for slot in self.slots}
        kept = tuple(slot for slot in self.slots if slot == self.next or used < set(NAMES))
        name = next(name for name in NAMES if name not in {slot.name for slot in kept})
        return replace(self, slots=(Slot(name, version, TRIES), *kept))

    def without(self, name: str) -> Self:
        """The record without a slot, which is then never booted."""
        return replace(self, slots=tuple(slot for slot in self.slots if slot.name != name))

    def first(self, name: str) -> Self:
        """The record with this slot as the first to boot."""
        return replace(self, slots=tuple(sorted(self.slots, key=lambda slot: slot.name != name)))

    def _with(self, changed: Slot) -> Self:
        return replace(self, slots=tuple(changed if slot.name == changed.name else slot for slot in self.slots))


def _slot(name: str, values: dict[str, str]) -> Slot:
    left = values.pop(f"left_{name}", "")
    return Slot(name, values.pop(f"version_{name}", ""), int(left) if left.isdigit() else None)
