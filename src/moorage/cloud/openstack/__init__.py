"""The ports on a real OpenStack, over its REST APIs."""
