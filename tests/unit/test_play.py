"""A person, or a pipe, is the policy."""

import io
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from text2sql_gym import play
from text2sql_gym.protocols import PROTOCOLS
from text2sql_gym.protocols.finestep import FineStep


@pytest.fixture
def records(tmp_path):
    """Arguments that make a tiny dataset the one that is played."""
    (tmp_path / "database" / "shop").mkdir(parents=True)
    with closing(sqlite3.connect(tmp_path / "database" / "shop" / "shop.sqlite")) as connection:
        connection.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, city TEXT)")
        connection.executemany("INSERT INTO sale (city) VALUES (?)", [("Oslo",), ("Rome",)])
        connection.commit()
    record = {"db_id": "shop", "question": "How many?", "SQL": "SELECT count(*) FROM sale"}
    (tmp_path / "mine.jsonl").write_text(json.dumps(record) + "\n")
    return ["--dataset", "records", "--data-dir", str(tmp_path), "--split", "mine"]


def run(arguments, typed):
    """Pipe text into the command; return its exit code, output and errors."""
    command = [sys.executable, "-m", "text2sql_gym.play", *arguments]
    root = Path(play.__file__).parents[1]
    done = subprocess.run(
        command, input=typed, capture_output=True, text=True, cwd=root, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_sql_runs_and_submit_ends_the_episode(records):
    typed = "SELECT city\nFROM sale;\n\nDELETE FROM sale;\nsubmit SELECT count(id) FROM sale;\n"
    code, printed, errors = run(records, typed)
    assert (code, errors) == (0, "")
    prompt, *turns = printed.split(">>>\n")
    assert "CREATE TABLE sale" in prompt and "Question: How many?" in prompt
    assert turns[0] == "<result>\ncity\nOslo\nRome\n(2 rows)\n</result>\n[ok, reward +0.000]\n\n"
    assert "only SELECT" in turns[1] and "[not_allowed, reward -0.100]" in turns[1]
    assert turns[2] == (
        "<result>\ncount(id)\n2\n(1 row)\n</result>\n[ok, reward +1.100]\n\n"
        "match, total reward +1.000\ngold: SELECT count(*) FROM sale\n\n"
    )


@pytest.mark.parametrize("typed", ["", "quit\n", "SELECT 1", "SELECT 1;\nquit\n"])
def test_the_end_of_the_input_or_quit_ends_it_quietly(records, typed):
    code, printed, errors = run([*records, "--episodes", "3"], typed)
    assert (code, errors) == (0, "")
    assert "total reward" not in printed and printed.count("Question:") == 1


def test_raw_turns_are_written_in_the_syntax_of_the_protocol(records):
    answer = FineStep.answer("two", "SELECT 2 FROM sale")
    typed = f"hello\n.\n{FineStep.call('look', 'SELECT 1')}\n.\n{answer}\n.\n"
    code, printed, _ = run([*records, "--raw"], typed)
    assert code == 0
    for shown in ("[malformed, reward -0.100]", "[ok, reward +0.000]", "mismatch, total reward"):
        assert shown in printed


COUNT = "SELECT count(*) FROM sale"
EPISODES = {
    "finestep": f"{COUNT};\nsubmit\n{COUNT};\n",
    "reex": f"{COUNT};\nsubmit {COUNT};\n",
    "cocte": f"WITH n AS ({COUNT});\nsubmit WITH n AS ({COUNT}) SELECT * FROM n;\n",
    "chat": f":search_values sale | city | osl;\n:describe_table sale;\nsubmit {COUNT};\n",
    "trust_sql": f":list_tables;\n:propose_schema sale(id);\n{COUNT};\nsubmit {COUNT};\n",
}


def played(monkeypatch, capsys, arguments, typed):
    """Play in this process; return the exit code and what was printed."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return play.main(arguments), capsys.readouterr().out


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("schema", ["full", "unknown"])
def test_every_protocol_can_be_played(records, monkeypatch, capsys, name, schema):
    arguments = [*records, "--protocol", name, "--schema", schema]
    code, printed = played(monkeypatch, capsys, arguments, EPISODES[name])
    assert code == 0 and "\nmatch, total reward" in printed
    assert printed.count("[ok, reward") == EPISODES[name].count(";\n")
    assert ("CREATE TABLE sale" in printed) == (schema == "full")


def test_a_call_that_is_none_of_the_protocol_is_told_and_read_over(records, monkeypatch, capsys):
    typed = f":list_tables;\n:bash rm;\nsubmit;\n{COUNT};\nsubmit {COUNT};\n"
    code, printed = played(monkeypatch, capsys, records, typed)
    assert code == 0 and "no tool 'bash' here" in printed and "no tool 'list_tables'" in printed
    assert printed.count(">>>\n") == 1 and "predicted_error, total reward" in printed


def test_tools_are_listed_with_their_arguments(records, monkeypatch, capsys):
    typed = ":search_values sale;\n:describe_table sail;\n"
    _, printed = played(monkeypatch, capsys, [*records, "--protocol", "chat"], typed)
    assert ":list_tables;, :describe_table table;" in printed
    assert ":search_values table | column | text;" in printed
    assert 'expected the arguments "table", "column", "text"; got "table"' in printed
    assert "no table named 'sail'. Did you mean 'sale'?" in printed


def test_turns_run_out(records):
    code, printed, _ = run([*records, "--max-turns", "1"], "SELECT 1;\n")
    assert code == 0 and "no_submission, total reward -0.100" in printed


def test_episodes_follow_each_other(records):
    code, printed, _ = run([*records, "--episodes", "2", "--seed", "3"], "submit SELECT 1;\n" * 2)
    assert code == 0 and printed.count("mismatch, total reward") == 2


def test_a_task_can_be_chosen_and_a_wrong_one_is_told(records):
    code, _, errors = run([*records, "--task-id", "nosuch"], "")
    assert code == 2 and "no task named 'nosuch'" in errors


def test_a_dataset_that_is_not_there_is_told(tmp_path):
    code, _, errors = run(["--dataset=spider", "--split=dev", f"--data-dir={tmp_path}"], "")
    assert code == 2 and str(tmp_path) in errors
