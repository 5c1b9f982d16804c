"""Volumes of the local cloud: a Cinder driver over plain, sparse files."""
