"""A database that cannot hold every text is refused before anything is written to it."""

import psycopg
import pytest
from psycopg import sql as composed

from helpers.check import check_system
from helpers.database.__main__ import main as database_command
from helpers.database.migrations import migrate
from helpers.database.schema import require_migrated
from helpers.errors import DatabaseError
from helpers.monitor import run_pass
from helpers.monitor.__main__ import main as monitor_command
from helpers.settings import get_settings
from sandbox.postgres import database_url, remove_database
from tests.support.passes import rows


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])  # where no locale is set; of an older cluster
def otherwise_encoded(administrator, server_url, monkeypatch, request):
    """An empty database in another encoding, in DATABASE_URL."""
    name = f"test_{request.param.lower()}"
    remove_database(administrator, name)
    administrator.execute(
        composed.SQL("CREATE DATABASE {} ENCODING {} LOCALE 'C' TEMPLATE template0").format(
            composed.Identifier(name), request.param
        )
    )
    url = database_url(server_url, name)
    monkeypatch.setenv("DATABASE_URL", url)
    get_settings.cache_clear()
    yield request.param, url
    remove_database(administrator, name)


def relations(url: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return rows(
            connection,
            "SELECT oid::regclass::text FROM pg_class "
            "WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
        )


def test_a_migration_is_refused_before_anything_is_written(otherwise_encoded):
    encoding, url = otherwise_encoded

    with pytest.raises(DatabaseError, match=f"is encoded in {encoding}, .* needs UTF8. Make"):
        migrate()

    assert relations(url) == []


@pytest.mark.parametrize("command", ["migrate", "status"])
def test_the_commands_say_in_one_line_how_to_make_another(otherwise_encoded, command, capsys):
    assert database_command([command]) == 1

    [line] = capsys.readouterr().err.splitlines()
    assert "createdb --encoding UTF8 --template template0" in line


def test_a_check_shows_it_where_the_database_stands(otherwise_encoded, workflows):
    encoding, _url = otherwise_encoded

    [line] = [found for found in check_system().findings if found.about == "database"]

    assert (line.severity.sign, f"is encoded in {encoding}" in line.text) == ("✖", True)
    assert "createdb --encoding UTF8" in line.text


def test_a_pass_is_refused_with_the_same_message(otherwise_encoded, capsys):
    for refused in (run_pass, require_migrated):
        with pytest.raises(DatabaseError, match="needs UTF8"):
            refused()
    assert (monitor_command(["--status"]), monitor_command([])) == (1, 1)
    assert capsys.readouterr().err.count("needs UTF8") == 2


def test_a_database_in_utf8_is_accepted_whatever_its_locale(administrator, server_url, monkeypatch):
    remove_database(administrator, "test_utf8_in_c")
    administrator.execute(
        "CREATE DATABASE test_utf8_in_c ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"
    )
    monkeypatch.setenv("DATABASE_URL", database_url(server_url, "test_utf8_in_c"))
    get_settings.cache_clear()
    try:
        migrate()
        require_migrated()
    finally:
        remove_database(administrator, "test_utf8_in_c")
