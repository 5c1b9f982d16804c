"""Volumes: a StorageClass for each Cinder type, and the reclaim policies with which volumes outlive their cluster."""
