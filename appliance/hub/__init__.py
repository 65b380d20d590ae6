"""The live hub: what happens on the telephone system, in browsers the moment it happens. See docs/hub.md."""
