"""Chained steps: the rules, the claims on chain runs, the heartbeat, and the runner.

A batch that ends may make the next step due: one chain run, written in the transaction that ends
the batch, unique per activation. Whoever runs the step's notebook claims it by one guarded UPDATE,
renews the claim by a heartbeat, and records the end by another UPDATE that only the owner can make.
So that a step is started once rests on rows, and on nothing that a process remembers:

- A *stopped* notebook (interrupted, claim lost) releases its chain run, which is due again at once.
- A *finished* one, whether it succeeded or failed, never does: people look first.
- An owner that could not renew its claim for 45 s stops its notebook; after 90 s the claim expires,
  and others may take it. An owner that is dead is one that does not renew.

``runner`` serves a pass of the monitor, which runs what is due, and a person, who runs one step.
"""
