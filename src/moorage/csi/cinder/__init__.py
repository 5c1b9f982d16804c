"""The backend for Cinder: its parameters, and the names of its volumes on a node."""
