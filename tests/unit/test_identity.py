"""A person and a process are named in one way wherever people see them."""

import os
import re

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
