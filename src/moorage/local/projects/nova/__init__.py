"""Nova in the local cloud."""
