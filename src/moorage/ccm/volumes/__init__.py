"""Volumes: a StorageClass for each of Cinder's types, and by what policy a volume outlives its cluster."""
