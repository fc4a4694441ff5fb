"""The monitor's schedule in JupyterLab: ``python -m helpers.schedule``, and its housekeeping.

Speaks to a running Jupyter server through the REST API of ``jupyter_scheduler``, whose traps it
knows, and never writes to the scheduler's database. Nothing is imported here, so that a pass can
load ``helpers.schedule.housekeeping`` cheaply.
"""
