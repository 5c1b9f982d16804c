"""What we need of a Linux box: the port, the box itself (`linux`), and its stateful twin in memory (`memory`)."""
