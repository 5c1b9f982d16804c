"""Generate Python from the .proto files; needs grpcio-tools, which only developers have."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("csi", "pluginregistration")


def generate(into: Path) -> None:
    """Write the generated modules into a folder; RuntimeError when protoc fails."""
    from grpc_tools import protoc  # type: ignore[import-untyped,unused-ignore]

    arguments = ["protoc", f"-I{HERE}", f"-I{protoc.__file__.rpartition('/')[0]}/_proto"]
    files = [f"{name}.proto" for name in NAMES]
    outputs = [f"--{kind}_out={into}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main([*arguments, *outputs, *files]) != 0:
        raise RuntimeError(f"protoc failed for {' and '.join(files)}")
    for name in NAMES:
        module = into / f"{name}_pb2_grpc.py"
        top_level_import = f"import {name}_pb2 as {name}__pb2"  # protoc knows no packages: it imports from the top
        module.write_text(module.read_text().replace(top_level_import, f"from moorage.csi.spec {top_level_import}"))


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
