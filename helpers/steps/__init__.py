"""Steps that are run once at a time: rules, claims, verdicts, heartbeat, execution, and the runner.

A batch that ends may make the next step due: one chain run, written in the transaction that ends
the batch, unique per activation. That a step runs once rests on rows, unique keys and guarded
updates, and on nothing that a process remembers:

- Whoever runs a step, or works on it by hand, holds its **claim**: one row, one owner, and an
  attempt that only ever grows. Each write of an owner compares both, so that one who was overtaken
  changes nothing, however late his write arrives.
- Taking a claim stamps **all chain runs that are due**, except those that wait for other batches of
  their step. What they wait for is looked at by the claim, never by the transaction that ends a
  batch: of two that end at once, each would see the other active.
- The **verdict** is committed when the last cell has ended, while the claim is kept, and tried
  until the database answers. The claim is released when the kernel is gone with all that it
  started.
- A *stopped* notebook (interrupted, claim lost) makes what it served due again, three times at
  most. A *finished* one, whether it succeeded or failed, never does: people look first.
- An owner beats every 3 s. After 45 s without a confirmed beat its notebook is ended, after 90 s
  the claim expires; without a verdict, what it served is due again then.

``runner`` serves a pass of the monitor, which runs what is due, and a person, who runs one step.
``plans`` are what people do with a step: not tonight, on after all, and once more.
"""

from helpers.steps.plans import hold_step, plan_rerun, release_step

__all__ = ["hold_step", "plan_rerun", "release_step"]
