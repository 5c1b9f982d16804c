"""Figures, each printed beside what it is measured against in the same run. Nothing here passes or fails."""
