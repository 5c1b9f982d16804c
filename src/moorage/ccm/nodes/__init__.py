"""Nodes: initialized, kept in sync with their servers, and deleted when, and only when, their server is deleted."""
