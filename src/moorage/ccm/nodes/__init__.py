"""Nodes: initialised, kept true to their servers, deleted when their server is gone, and only then."""
