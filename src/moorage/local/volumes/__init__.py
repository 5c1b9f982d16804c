"""Volumes of the local cloud: a Cinder driver that stores them as sparse files."""
