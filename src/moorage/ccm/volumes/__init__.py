"""Volumes: a StorageClass for each Cinder volume type, and the reclaim policies recorded in Cinder's metadata."""
