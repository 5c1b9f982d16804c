"""Immutable node images and the release directory that goes into them."""
