"""A Linux host: file systems and mounts, and its programs."""
