"""Heat in the local cloud."""
