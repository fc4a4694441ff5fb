"""Run a notebook: its file, its kernel with a watchdog, its executed copy, and who runs it."""
