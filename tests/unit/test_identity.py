"""A person and a process are named in one way wherever people see them."""

import os
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers import identity


def test_a_process_is_named_after_its_person_and_host_everywhere():
    who = f"{identity.person()} pid {os.getpid()}"

    assert identity.owner_name(identity.owner_id()) == who
    assert re.fullmatch(r"monitor \S+@\S+ pid \d+", identity.process_name())


@pytest.mark.parametrize("name", ["analyst", "a" * 200, "jörg", ""])
def test_a_name_fits_into_what_postgresql_keeps(monkeypatch, name):
    monkeypatch.setattr("getpass.getuser", lambda: name)
    monkeypatch.setattr("socket.gethostname", lambda: "node-17." + "x" * 200)

    shown = identity.process_name().encode()

    assert len(shown) <= 63
    assert shown.endswith(f" pid {os.getpid()}".encode())


def test_a_user_without_a_name_is_named_by_number(monkeypatch):
    def unknown():
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", unknown)

    assert identity.person().startswith(f"uid-{os.getuid()}@")


def test_threads_that_ask_for_the_first_time_together_are_one_owner(monkeypatch):
    """Else a step that one of them claims would seem to be somebody else's at its start."""
    monkeypatch.setattr(identity, "_owners", {})
    together, new_id = threading.Barrier(4, timeout=30), uuid.uuid4

    def made() -> uuid.UUID:
        together.wait()
        return new_id()

    monkeypatch.setattr(identity.uuid, "uuid4", made)
    with ThreadPoolExecutor(4) as pool:
        owners = set(pool.map(lambda _: identity.owner_id(), range(4)))

    assert owners == {identity.owner_id()}
