"""Which teams are searched: in a minute by every test run, and the large ones in the night.

Each entry is named after what may happen beside the work of the monitors.
"""

from typing import Any

_PAIR: dict[str, Any] = {"batches": 2, "endings": "CF", "releases": True}
_AGAIN: dict[str, Any] = {"resubmit": 1, "activations": 2}
_FAULTS: dict[str, Any] = {"crash": 1, "cut": 1, "freeze": 1}

SMALL: dict[str, dict[str, Any]] = {
    "a crash, a cut, a freeze, and a person who runs the step by hand or resubmits": (
        _FAULTS | _AGAIN | {"hand": 1, "most_deeds": 1}
    ),
    "a crash, a cut and a freeze": _FAULTS,
    "two interruptions, a run by hand and a resubmission": _AGAIN | {"interrupt": 2, "hand": 1},
    "an outage of 30 s": _AGAIN | {"outage": 1, "short_outage": 2, "hand": 1},
    "an outage of any length and a crash": {"outage": 1, "crash": 1},
    "statements that arrive late": {"cut": 1, "crash": 1, "interrupt": 1, "wire": True},
    "renewals on their way, and two freezes": {"freeze": 2, "split_beats": True},
    "work by hand in a person's kernel, a freeze and a crash": {"verb": 1, "freeze": 1, "crash": 1},
    "a notebook that logs its own runs, and a crash": {"own_run": 2, "hand": 1, "crash": 1},
    "an archived cycle, a resubmission and a crash": _AGAIN | {"archive": 1, "hand": 1, "crash": 1},
    "a hold, a rerun, a run by hand and a crash": {"hold": 1, "rerun": 1, "hand": 1, "crash": 1},
    "a rerun, two interruptions and a resubmission": _AGAIN | {"rerun": 1, "interrupt": 2},
    "siblings, a hold and a rerun": _PAIR | {"monitors": 1, "hold": 1, "rerun": 1},
    "siblings that may fail or be cancelled": _PAIR | {"monitors": 1, "hand": 1, "cancel": 1},
    "siblings after COMPLETED or FAILED": _PAIR | {"monitors": 1, "rule": "CF", "hand": 1},
    "siblings, two monitors and a crash": _PAIR | {"crash": 1},
    "beside an older monitor that chains, a crash and a freeze": (
        {"older": "chains", "crash": 1, "freeze": 1}
    ),
    "beside an older monitor that only ends batches": _AGAIN | {"older": "stays", "hand": 1},
    "siblings beside an older monitor": {"older": "chains", "batches": 2},
}

LARGE: dict[str, dict[str, Any]] = {
    "a person, a crash, a cut, a freeze and a resubmission": _FAULTS | _AGAIN | {"hand": 1},
    "siblings, a run by hand and a resubmission": _PAIR | _AGAIN | {"monitors": 1, "hand": 1},
    "a hold, a rerun, a crash, a cut, a freeze": _FAULTS | {"hold": 1, "rerun": 1},
    "siblings beside an older monitor, with a resubmission": (
        _AGAIN | {"older": "chains", "batches": 2, "monitors": 1}
    ),
    "beside an older monitor that chains, a person and a resubmission": (
        _AGAIN | {"older": "chains", "hand": 1}
    ),
    "three monitors, a crash and a freeze": {"monitors": 3, "crash": 1, "freeze": 1},
    "statements that arrive late, and two cuts": (
        {"cut": 2, "crash": 1, "interrupt": 1, "wire": True}
    ),
}

LIMITS: dict[str, dict[str, Any]] = {
    "an older monitor that starts its step late": {"older": "chains", "strict": True},
    "an older monitor whose kernel outlasts the wait of the sweep": (
        {"older": "chains", "batches": 2, "strict": True}
    ),
}
"""What cannot be helped, and is named under "What remains": a search has to find it."""

REPLAYED: tuple[dict[str, Any], ...] = (
    {"interrupt": 1, "hand": 1, "crash": 1, "own_run": 2, "verb": 1, "archive": 1} | _AGAIN,
    _PAIR | {"monitors": 1, "hand": 1, "cancel": 1, "interrupt": 1},
    _AGAIN | {"hold": 1, "rerun": 1, "hand": 1, "interrupt": 1, "crash": 1},
    _PAIR | {"monitors": 1, "hold": 1, "rerun": 1},
    _PAIR | {"rule": "CF", "monitors": 1, "resubmit": 1, "activations": 2},
    {"older": "chains", "batches": 2, "monitors": 1},
    {"older": "chains", "monitors": 1},
)
"""Whose rows are replayed on PostgreSQL: between them they have all that rows can say."""
