"""Applications for a cluster, and the demo: the local cloud with a cluster, an application and a database."""
