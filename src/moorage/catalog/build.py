"""Build what is missing in the cache, and push images to the local cloud's registry."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from moorage.catalog.names import REGISTRY, REGISTRY_HOST
from moorage.config import Paths
from moorage.model.errors import NotFound

if TYPE_CHECKING:
    from moorage.local.cloud import LocalCloud

Report = Callable[[str], None]


def build(paths: Paths, local: Callable[[], LocalCloud], recipe: Path, report: Report) -> bool:
    """Build the release, the node image and, in parallel, the recipe's container image, if missing.

    `local` returns the local cloud, with what is built so far. False when nothing was missing.
    """
    from moorage.image import debian_container

    wanted, cache = debian_container.read(recipe), paths.cache
    if _has_nodes(paths) and debian_container.built(wanted, cache):
        return False
    with ThreadPoolExecutor(1) as pool:
        container = pool.submit(debian_container.build, wanted, cache, report)
        _build_nodes(paths, local, report)
        container.result()
    return True


def _build_nodes(paths: Paths, local: Callable[[], LocalCloud], report: Report) -> None:
    """Build the release and the node image; while Go builds, start the cloud for the first time."""
    from moorage.image.node_image import build_image
    from moorage.image.release import build as build_release
    from moorage.image.release import find_release
    from moorage.image.signed import trusted

    if _has_nodes(paths):
        return
    cache = paths.cache
    if not _exists(find_release, cache):
        with ThreadPoolExecutor(1) as pool:
            release = pool.submit(build_release, cache, report=report)
            local().up(lambda text: None)
            release.result()
        report("stopping the cloud that was started during the build: it has no registry yet")
        local().down(lambda text: None)
    build_image(cache, find_release(cache), report, trusted(paths.trusted_keys))


def _has_nodes(paths: Paths) -> bool:
    from moorage.image.node_image import find_image
    from moorage.image.signed import trusted

    return _exists(lambda cache: find_image(cache, trusted(paths.trusted_keys)), paths.cache)


def _exists(find: Callable[[Path], object], cache: Path) -> bool:
    try:
        find(cache)
    except NotFound:
        return False
    return True


def push(source: str, image: str) -> None:
    """Copy an image, named as in skopeo, to the registry, which skips existing layers."""
    from moorage.image.run import run

    target = f"docker://{REGISTRY}/{image.removeprefix(f'{REGISTRY_HOST}/')}"
    words = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
    run([*words, source, target], "moorage cloud logs registry")
