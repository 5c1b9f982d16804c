"""A Linux host: the ports, the real adapters (`linux*`) and the in-memory adapters (`memory*`)."""
