"""moorage-node: a node's first boot, its join, and every later boot. It runs on nodes, with Debian's Python."""
