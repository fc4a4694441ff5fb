"""The world around the monitors of a test."""

import pytest

from sandbox.moodys import MoodysStandIn
from sandbox.teams import TeamsStandIn
from tests.support.faults_world import Meeting, World


@pytest.fixture
def world(sql, workflows, tmp_path):
    """An empty world; what its monitors leave behind ends with the test."""
    with MoodysStandIn() as moodys, TeamsStandIn() as teams, Meeting() as meeting:
        made = World(sql, moodys, teams, meeting, workflows, tmp_path)
        made.gate.touch()
        try:
            yield made
        finally:
            made.close()
