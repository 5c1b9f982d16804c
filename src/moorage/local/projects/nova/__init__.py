"""Nova, as the local cloud runs it."""
