"""The OpenStack client: ports, real adapters and in-memory adapters."""
