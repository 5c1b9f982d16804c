"""What Moorage needs of OpenStack: the port, the real adapter, the in-memory twin."""
