"""The Kubernetes client: port, real adapter and in-memory adapter; informers, leases and events."""
