"""Nodes: initialise them, keep them in step with their servers, and delete them only when the server is deleted."""
