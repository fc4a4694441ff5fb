"""Stands in the way of the package of this name, which is optional to jsonschema.

Every Jupyter program imports jsonschema, and would build for a second the grammar of an address.
"""

raise ImportError("no test needs it")
