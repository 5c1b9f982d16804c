"""The ports for OpenStack: calls, types and errors, one file for each service."""
