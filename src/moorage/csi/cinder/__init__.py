"""The backend on Cinder: what its classes may say, and where its volumes appear on a node."""
