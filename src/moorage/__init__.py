"""Moorage turns an OpenStack cloud into a home for containers."""

__version__ = "0.1.0"
