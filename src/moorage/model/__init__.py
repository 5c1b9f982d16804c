"""Frozen dataclasses and errors that all parts share; standard library only."""
