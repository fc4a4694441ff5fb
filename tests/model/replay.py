"""Replay statements of the model on a real PostgreSQL, through the product's own functions.

For each pair of rows and an action the rows are put into the metastore, the product acts, and what
stands there then is compared with what the model says. Each pair is undone by a savepoint, so
thousands of them fit into a minute.
"""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import pytest

from helpers.database import Connection, queries, transaction
from helpers.steps import heartbeat
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.model.metastore_rows import JOB_STATUSES, LOCATIONS, Location, visible
from tests.model.plans import Plans
from tests.model.product import Product
from tests.model.promises import Checked
from tests.model.rows import Rows
from tests.model.scenarios import REPLAYED
from tests.model.search import TooLargeError, explore

Action = tuple[Any, ...]


def pairs(most: int) -> list[tuple[Checked, Rows, Action]]:
    """Return pairs of rows and an action: all actions in the first rows that searches reach.

    The rows come breadth first, from each of the scenarios in turn.
    """
    in_turn = itertools.zip_longest(*_first_rows(max(2_000, most)))
    found = (row for rows in in_turn for row in rows if row is not None)
    every = ((model, rows, action) for model, rows in found for action in actions(model, rows))
    return list(itertools.islice(every, most))


@cache
def _first_rows(states: int) -> list[list[tuple[Checked, Rows]]]:
    """Return the different rows among the first states of each scenario."""
    sources = []
    for scenario in REPLAYED:
        model, seen = Checked(**scenario), dict[Rows, None]()
        with suppress(TooLargeError):
            explore(model, most=states, see=lambda world, _, seen=seen: seen.setdefault(world.rows))
        sources.append([(model, rows) for rows in seen])
    return sources


def actions(model: Plans, rows: Rows) -> Iterator[Action]:
    """Yield all that anybody may ask of the database, the owner of the claim or another."""
    for b, batch in enumerate(rows.batches):
        if batch.status == "A":
            yield from (("end", b, status) for status in JOB_STATUSES)
        yield ("activate", b)
        yield ("conclude", b)
    for j, run in enumerate(rows.chain_runs):
        if run.status == "P":
            yield ("waits_for_nothing", j)
    yield from ((name, 9) for name in ("claim_due", "claim_step", "claim_for_work"))
    yield from ((name,) for name in ("hold_step", "release_step", "plan_rerun"))
    yield from (("give_up",), ("archive",))
    owner, attempt = rows.claim.owner or 1, rows.claim.attempt
    for who, which in ((owner, attempt), (owner + 1, attempt), (owner, attempt - 1)):
        yield from ((name, who, which) for name in ("renew", "note_start", "release"))
        yield ("record", who, which, "F")
        if rows.claim.run:
            yield ("record", who, which, "C")


def expected(model: Plans, rows: Rows, action: Action) -> tuple[Rows, bool]:
    """Return what the model says stands there afterwards, and whether the action was accepted."""
    name, *arguments = action
    if name == "activate" and rows.archived and rows.batches[arguments[0]].status == "I":
        return rows, False
    after = getattr(model, name)(rows, *arguments)
    if isinstance(after, bool):
        return rows, after
    if after is None:  # refused, although a claim that had expired is released
        pruned = model.expire(rows) if name.startswith("claim_") else rows
        return pruned, False
    return after, True


class Replay:
    """One connection, on which pairs are replayed one after the other."""

    def __init__(self, connection: Connection, patch: pytest.MonkeyPatch) -> None:
        self._connection, self._patch = connection, patch
        self._locations: dict[tuple[str, int], Location] = {}

        @contextmanager
        def same_connection(**_: object) -> Iterator[Connection]:
            yield connection

        patch.setattr(heartbeat, "connect", same_connection)

    def difference(self, model: Plans, rows: Rows, action: Action) -> str:
        """Return how product and model differ about one action; empty if they do not."""
        after, accepted = expected(model, rows, action)
        location = self._location(model.rule, len(rows.batches))
        with self._connection.transaction(force_rollback=True):
            product = Product(self._connection, location, model, self._patch)
            product.put(rows)
            was_accepted = product.act(rows, action)
            found = product.read(len(rows.chain_runs))
        wanted = visible(model, after)
        if found == wanted and was_accepted in (accepted, None):
            return ""
        return (
            f"{action} on {rows}:\n  model   {accepted} {wanted}\n  product {was_accepted} {found}"
        )

    def _location(self, rule: str, batches: int) -> Location:
        key = (rule, batches)
        if key not in self._locations:
            stage_num, step_num, batch_type = LOCATIONS[rule]
            cycle_id = add_cycle(f"Cycle {rule} {batches}")
            ids = [add_step(cycle_id, stage_num=stage_num, step_num=step_num + n) for n in (0, 1)]
            steps = [queries("steps").step_by_id(step_id=step_id) for step_id in ids]
            job = PreparedJob(workflow_id="1")
            made = [add_batch(ids[0], batch_type, [job]).batch_id for _ in range(batches)]
            self._locations[key] = Location(cycle_id, *steps, batch_type, tuple(made))
        return self._locations[key]


def replayed(
    patch: pytest.MonkeyPatch, every: Iterable[tuple[Checked, Rows, Action]], *, chunk: int = 500
) -> tuple[int, list[str]]:
    """Replay pairs; return how many, and how product and model differ."""
    count, differences = 0, []
    remaining = iter(every)
    while some := list(itertools.islice(remaining, chunk)):
        with transaction() as connection, connection.transaction(force_rollback=True):
            replay = Replay(connection, patch)
            for model, rows, action in some:
                difference = replay.difference(model, rows, action)
                if difference:
                    differences.append(difference)
        count += len(some)
    return count, differences
