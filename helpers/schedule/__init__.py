"""The monitor's schedule in JupyterLab: ``python -m helpers.schedule``, and what a pass prunes.

Speaks to a running Jupyter server through the REST API of ``jupyter_scheduler``, whose traps it
knows, and touches neither the scheduler's database nor any process. Pausing, resuming and running
at once are left to JupyterLab's own page. Nothing is imported here: a pass loads little of it.
"""
