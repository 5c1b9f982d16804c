"""The ports on clouds in memory, for tests: they keep state as the real services do."""
