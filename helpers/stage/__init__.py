"""What stage notebooks import: the step they stand for, its batch, and what became of its stage.

``open_step()`` finds the cycle and the step; everything else hangs on what it returns.
"""

from helpers.stage.step_notebook import StepNotebook, open_step

__all__ = ["StepNotebook", "open_step"]
