"""Taking a release from a mirror: a server in this process, with faults on demand."""

import errno
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from moorage.image.release import Entry, Manifest, fetch, verify
from moorage.model.errors import BadInput, Failed

pytestmark = pytest.mark.unit

HASH = "0123456789abcdef"
KUBERNETES = bytes(range(256)) * 4096 * 3  # more than one chunk
CONTENT = {"kubernetes": KUBERNETES, "etcd": b"etcd's program", "pause": b"x"}
DATA = b"kind: Kinds"


def manifest(release=HASH):
    entries = [
        Entry(name, "v1", f"example.org/{name}@v1", hashlib.sha256(content).hexdigest(), len(content))
        for name, content in CONTENT.items()
    ]
    link = Entry("kubelet", "v1", "example.org/kubernetes@v1", entries[0].sha256, entries[0].size, link="kubernetes")
    digest = hashlib.sha256(DATA).hexdigest()
    data = Entry("kinds.yaml", "v1", "example.org/kinds@v1", digest, len(DATA), kind="data")
    return Manifest(release, "v1.37.2", (*entries, link, data))


class Mirror(ThreadingHTTPServer):
    """Serves `files` by path; `cut` ends an answer after so many bytes; remembers what was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = {f"/r/bin/{name}": content for name, content in CONTENT.items()}
        self.files["/r/share/kinds.yaml"] = DATA
        self.files["/r/manifest.json"] = manifest().text().encode()
        self.cut = {}
        self.knows_ranges = True
        self.asked = []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/r"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        mirror = self.server
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        start = start if mirror.knows_ranges else 0
        mirror.asked.append((self.path, start))
        content = mirror.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : mirror.cut.pop(self.path, len(content))])

    def log_message(self, *words):
        """Tests need no log."""


@pytest.fixture
def mirror():
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def take(tmp_path, mirror, reported=None):
    return fetch(tmp_path, mirror.address, report=[].append if reported is None else reported.append, wanted=HASH)


def names(tmp_path):
    return {path.name for path in (tmp_path / "release").iterdir()}


def test_fetch_downloads_release(tmp_path, mirror):
    reported = []
    release = take(tmp_path, mirror, reported)
    assert verify(release) == []
    assert release.program("kubelet").read_bytes() == KUBERNETES
    assert release.data("kinds.yaml").read_bytes() == DATA
    assert names(tmp_path) == {HASH, "lock"}
    assert reported[0] == "fetching 1/4 kubernetes v1 (3 MB)"


def test_fetch_existing_release_makes_no_request(tmp_path, mirror):
    take(tmp_path, mirror)
    mirror.asked.clear()
    take(tmp_path, mirror)
    assert mirror.asked == []


def test_fetch_accepts_trailing_slash(tmp_path, mirror):
    assert verify(fetch(tmp_path, mirror.address + "/", report=print, wanted=HASH)) == []


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_interrupted_download_resumes(tmp_path, mirror, knows_ranges):
    mirror.knows_ranges = knows_ranges
    mirror.cut["/r/bin/etcd"] = 5
    with pytest.raises(Failed, match="bin/etcd"):
        take(tmp_path, mirror)
    assert names(tmp_path) == {f"{HASH}.fetching", "lock"}
    mirror.asked.clear()
    assert verify(take(tmp_path, mirror)) == []
    start = 5 if knows_ranges else 0
    rest = [("/r/bin/pause", 0), ("/r/share/kinds.yaml", 0)]
    assert mirror.asked == [("/r/manifest.json", 0), ("/r/bin/etcd", start), *rest]
    assert names(tmp_path) == {HASH, "lock"}


@pytest.mark.parametrize(
    ("content", "reports"),
    [(b"etcd's Program", "does not have the expected SHA-256"), (b"etcd's program and more", "larger than expected")],
)
def test_mismatching_file_is_rejected_and_deleted(tmp_path, mirror, content, reports):
    mirror.files["/r/bin/etcd"] = content
    with pytest.raises(Failed, match=reports):
        take(tmp_path, mirror)
    assert names(tmp_path) == {"lock"}


def test_damaged_partial_download_is_not_used(tmp_path, mirror):
    mirror.cut["/r/bin/etcd"] = 5
    with pytest.raises(Failed):
        take(tmp_path, mirror)
    (tmp_path / "release" / f"{HASH}.fetching" / "bin" / "etcd.part").write_bytes(b"wrong")
    with pytest.raises(Failed, match="SHA-256"):
        take(tmp_path, mirror)
    assert names(tmp_path) == {"lock"}


def test_files_of_older_manifest_are_deleted(tmp_path, mirror):
    folder = tmp_path / "release" / f"{HASH}.fetching" / "bin"
    folder.mkdir(parents=True)
    (folder / "miner").write_text("x")
    (folder / "kubelet").symlink_to("miner")
    assert verify(take(tmp_path, mirror)) == []


def test_other_release_is_rejected(tmp_path, mirror):
    mirror.files["/r/manifest.json"] = manifest("fedcba9876543210").text().encode()
    with pytest.raises(Failed, match=f"is release fedcba9876543210, and this version needs {HASH}"):
        take(tmp_path, mirror)


def test_missing_file_is_reported_with_address(tmp_path, mirror):
    del mirror.files["/r/bin/etcd"]
    with pytest.raises(Failed, match=r"/r/bin/etcd answered 404"):
        take(tmp_path, mirror)


def test_unreachable_mirror_is_reported(tmp_path, mirror):
    address = f"http://127.0.0.1:{mirror.server_port + 1 if mirror.server_port < 65535 else 1}"
    with pytest.raises(Failed, match="cannot be reached"):
        fetch(tmp_path, address, report=print, wanted=HASH)


def test_full_disk_is_reported_and_download_resumes(tmp_path, mirror, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("moorage.image.download._copy", full)
        with pytest.raises(Failed, match="is full"):
            take(tmp_path, mirror)
    assert verify(take(tmp_path, mirror)) == []


@pytest.mark.parametrize("address", ["mirror.example.org", "ftp://mirror/x", "/srv/mirror", "file:///srv/mirror"])
def test_invalid_address_is_rejected(tmp_path, address):
    with pytest.raises(BadInput, match="--mirror"):
        fetch(tmp_path, address, report=print)
    assert list(tmp_path.iterdir()) == []
