"""The engine: its root file system, its launcher, its static configuration, and the owners of its sockets."""
