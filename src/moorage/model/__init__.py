"""The words of Moorage: frozen dataclasses and errors, from the standard library only."""
