"""What a machine container uses of its host: namespaces, interfaces, switch ports, cgroups, loop devices."""
