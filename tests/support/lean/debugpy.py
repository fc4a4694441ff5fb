"""Stands in the way of the package of this name, which is optional to ipykernel.

Every kernel imports it, for a fifth of the CPU that its start costs, to be debugged by nobody here.
"""

raise ImportError("no test needs it")
