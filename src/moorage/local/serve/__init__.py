"""One OpenStack project as one process: `python -m moorage.local.serve PROJECT --state … --run … --cache …`."""
