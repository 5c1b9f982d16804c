"""What becomes of a cluster's volumes and snapshots: who is kept, and in which order the others go. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from moorage.cloud.volumes import BUSY, CinderSnapshot, CinderVolume, VolumeAttachment
from moorage.clusters.belongings.things import (
    TRIES,
    Act,
    Clearing,
    DeleteServer,
    DeleteSnapshot,
    DeleteVolume,
    DropAttachment,
    KeepSnapshot,
    KeepVolume,
    Made,
    snapshots_of,
    together,
)
from moorage.model.cluster import Belonging
from moorage.model.ownership import RECLAIM_MARK, RETAIN

SIDECARS = "csi.storage.k8s.io/"
# Statuses in which Cinder deletes (cinder/volume/api.py).
VOLUME_ENDS = ("available", "error", "error_restoring", "error_extending", "error_managing")
SNAPSHOT_ENDS = ("available", "error")
PASSING = BUSY | {"in-use"}  # those which it leaves by itself, the cluster's servers being gone
Thing = CinderVolume | CinderSnapshot


def plan_keeping(made: Made, keep: bool, asked: Mapping[str, int]) -> Clearing:
    """What stays, with `keep` all of it, and is to say so of itself. `asked` is how often this run did what by id."""
    kept = _kept(made, keep)
    return together(_keep(thing, kept[thing.id], asked) for thing in _things(made) if thing.id in kept)


def plan_storage(made: Made, keep: bool, asked: Mapping[str, int]) -> Clearing:
    """What goes, as above."""
    kept = _kept(made, keep)
    going = [thing for thing in _things(made) if thing.id not in kept]
    return together([_lost_servers(made, asked), *(_end(thing, going, made, asked) for thing in going)])


def claim_of(thing: Thing) -> str:
    """`namespace/name` of the claim or VolumeSnapshot that it was made for, as the sidecars wrote it."""
    kind = "pvc" if isinstance(thing, CinderVolume) else "volumesnapshot"
    names = [thing.metadata.get(f"{SIDECARS}{kind}/{part}", "") for part in ("namespace", "name")]
    return "/".join(names) if all(names) else ""


def _things(made: Made) -> list[Thing]:
    return [*snapshots_of(made), *made.volumes]


def _kept(made: Made, keep: bool) -> dict[str, str]:
    """Why, by id."""
    things = _things(made)
    why = {thing.id: "as was asked for" for thing in things if keep}
    why |= {thing.id: f"its policy is {RETAIN}" for thing in things if not keep and _retained(thing)}
    gone = {snapshot.id for snapshot in snapshots_of(made)} - set(why)
    for volume in made.volumes:
        if volume.id not in why and (reason := _holder(volume, made, gone)):
            why[volume.id] = reason
    return why


def _retained(thing: Thing) -> bool:
    return thing.metadata.get(RECLAIM_MARK) == RETAIN


def _holder(volume: CinderVolume, made: Made, gone: set[str]) -> str:
    """What of others keeps a volume from going, empty when nothing does."""
    known = {server.id for server in made.servers} | made.lost
    strangers = [attachment.server for attachment in volume.attachments if attachment.server not in known]
    if strangers:
        return f"it is at server {strangers[0]}, which is not the cluster's"
    stays = [found for found in made.snapshots if found.volume == volume.id and found.id not in gone]
    return f"its snapshot {stays[0].name or stays[0].id} stays" if stays else ""


def _keep(thing: Thing, why: str, asked: Mapping[str, int]) -> Clearing:
    shown, bare = replace(_shown(thing), why=why), _shown(thing)
    if _retained(thing):
        return Clearing(kept=(shown,))
    if asked.get(thing.id, 0) >= TRIES:
        return Clearing(stuck=(f"{bare} is {thing.status}: that it is to stay cannot be written on it",), kept=(shown,))
    mark = KeepVolume if isinstance(thing, CinderVolume) else KeepSnapshot
    return Clearing((mark(thing.id, f"writing on {bare} that it is to stay"),), kept=(shown,))


def _end(thing: Thing, going: list[Thing], made: Made, asked: Mapping[str, int]) -> Clearing:
    shown = _shown(thing)
    lost = [held for held in _attachments(thing) if held.server in made.lost]
    if lost and all(asked.get(held.id, 0) < TRIES for held in lost):
        drops = (DropAttachment(held.id, f"freeing {shown} of a server that is gone") for held in lost)
        return Clearing(tuple(drops), going=(shown,))
    before = [other for other in going if _needs(other, thing) and not _stuck(other, asked)]
    if holds := next(_holds(thing, before, made), ""):
        return Clearing(waits=(holds,), going=(shown,))
    if _stuck(thing, asked):
        said = f": {made.words[thing.id]}" if made.words.get(thing.id) else ""
        return Clearing(stuck=(f"{shown} cannot be deleted, it is {thing.status}{said}",), going=(shown,))
    return Clearing((_deletion(thing, f"deleting {shown}"),), going=(shown,))


def _attachments(thing: Thing) -> tuple[VolumeAttachment, ...]:
    return thing.attachments if isinstance(thing, CinderVolume) else ()


def _deletion(thing: Thing, text: str) -> Act:
    return (DeleteVolume if isinstance(thing, CinderVolume) else DeleteSnapshot)(thing.id, text)


def _stuck(thing: Thing, asked: Mapping[str, int]) -> bool:
    ends = VOLUME_ENDS if isinstance(thing, CinderVolume) else SNAPSHOT_ENDS
    return thing.status not in PASSING and (thing.status not in ends or asked.get(thing.id, 0) >= TRIES)


def _holds(thing: Thing, before: list[Thing], made: Made) -> Iterator[str]:
    """What is to be waited for, what goes before it included, until its end can be asked for."""
    here = {server.id: server.name for server in made.servers}
    for attachment in _attachments(thing):
        if attachment.server in here:
            yield f"waiting for server {here[attachment.server]} to release {_shown(thing)}"
    if thing.status in PASSING:
        yield f"waiting for Cinder: {_shown(thing)} is {thing.status}"
    for other in before:
        yield f"{_shown(thing)} goes after {_shown(other)}"


def _needs(other: Thing, thing: Thing) -> bool:
    """Whether the other began with this one: some backends keep what it shares with it, and refuse."""
    if isinstance(other, CinderSnapshot):
        return other.volume == thing.id
    return thing.id in (other.snapshot, other.source)


def _lost_servers(made: Made, asked: Mapping[str, int]) -> Clearing:
    """Servers that Heat left behind hold volumes."""
    if not made.stackless:
        return Clearing()
    return Clearing(
        acts=tuple(DeleteServer(s.id, f"deleting server {s.name}") for s in made.servers if not asked.get(s.id)),
        waits=tuple(f"waiting for Nova to delete server {s.name}" for s in made.servers if asked.get(s.id)),
    )


def _shown(thing: Thing) -> Belonging:
    kind = "volume" if isinstance(thing, CinderVolume) else "snapshot"
    return Belonging(kind, thing.id, thing.name or thing.id, thing.size, claim_of(thing))
