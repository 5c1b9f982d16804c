"""One folder a project: its configuration templates, and how its application and threads start."""
