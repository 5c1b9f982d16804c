"""One folder for each project: its configuration templates, and how its application and threads start."""
