"""Cinder in the local cloud."""
