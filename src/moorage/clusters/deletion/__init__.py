"""Deletes all that a cluster owns, kind by kind: list what is owned, delete it, wait until it is gone."""
