"""Heat, as the local cloud runs it."""
