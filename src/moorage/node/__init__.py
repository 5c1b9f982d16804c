"""moorage-node: a node's first boot, its join, and every later boot. Runs on nodes, with Debian's Python."""
