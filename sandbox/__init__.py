"""A world to practise in: stand-ins for Moody's and Teams, a PostgreSQL, and the demo.

Nothing outside this package imports it, and it is never chosen silently: whoever wants it
starts it, and points the settings at it.
"""
