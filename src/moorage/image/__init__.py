"""Immutable node images, and the release of Kubernetes programs in them."""
