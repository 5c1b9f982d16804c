"""What Moorage needs of the Kubernetes API: the port, the real adapter, the in-memory twin."""
