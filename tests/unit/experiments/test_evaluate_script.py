"""The evaluation script: every kind of policy, its files, and going on after a stop."""

import json
import shutil
import sqlite3
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from agents.demonstrations import texts
from agents.policies.scripted import Analyst
from agents.tiny import tiny_qwen3, train_tokenizer
from experiments import evaluate
from experiments.evaluate import main
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols.finestep import FineStep

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory, towns):
    """The toy tasks as a folder of records."""
    folder = tmp_path_factory.mktemp("records")
    shutil.copy(towns[0].database, folder / "towns.sqlite")
    rows = [
        {"task_id": t.task_id, "db_id": "towns", "question": t.question, "SQL": t.gold_sql[0],
         "difficulty": t.difficulty}
        for t in towns
    ]
    (folder / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def run(data, tmp_path):
    """Run the script on the toy tasks; return its folder."""

    def call(policy, *flags, folder="out"):
        main(["--policy", policy, "--dataset", "records", "--data-dir", str(data),
              "--output", str(tmp_path / folder), *map(str, flags)])
        return tmp_path / folder

    return call


def rows(folder):
    return json.loads((folder / "results.json").read_text())["rows"]


def test_the_gold_script_fills_every_file(run, towns, capsys):
    folder = run("script:gold", "--samples", 2, "--scores", "soft_f1,r_ves")
    table = (folder / "table.md").read_text()
    assert table in capsys.readouterr().out and "| ex | 1.000 |" in table
    assert {"R-VES", "pass@2"} <= {line.split("|")[1].strip() for line in table.splitlines()[2:]}
    predicted = json.loads((folder / "predict_dev.json").read_text())
    assert list(predicted) == ["0", "1", "2"]
    assert [value.split("\t----- bird -----\t") for value in predicted.values()] == [
        [task.gold_sql[0], "towns"] for task in towns
    ]
    queries = (folder / "predictions.sql").read_text().splitlines()
    assert queries == [task.gold_sql[0] for task in towns]
    golds = [line.split("\t") for line in (folder / "gold.sql").read_text().splitlines()]
    assert golds == [[task.gold_sql[0], "towns"] for task in towns]


def test_predictions_run_on_their_databases_to_the_gold_result(run, towns):
    folder = run("script:gold")
    for line, task in zip((folder / "predictions.sql").open(), towns, strict=True):
        with closing(sqlite3.connect(task.database)) as connection:
            assert connection.execute(line).fetchall()
            assert (
                connection.execute(line).fetchall()
                == connection.execute(task.gold_sql[0]).fetchall()
            )


def test_some_tasks_and_grades_can_be_picked(run):
    assert len(rows(run("script:gold", "--grades", "easy", "--tasks", 1))) == 1
    assert len(rows(run("script:gold", "--grades", "hard", folder="b"))) == 1
    with pytest.raises(SystemExit, match=r"no task of dev is odd; there are \['easy', 'hard'\]"):
        run("script:gold", "--grades", "odd", folder="c")


def test_two_evaluations_are_compared(run, capsys):
    one = run("script:gold", folder="one")
    run("script:analyst", "--against", one, folder="two")
    assert "| | before | after | difference (95 % interval) |" in capsys.readouterr().out


def test_the_same_command_goes_on_and_another_is_refused(run, monkeypatch):
    folder = run("script:analyst", "--samples", 1)
    before, calls = (folder / "attempts.jsonl").read_bytes(), []
    monkeypatch.setattr(evaluate, "attempt", seen(evaluate.attempt, calls))
    run("script:analyst", "--samples", 1, "--scores", "soft_f1,bird_ex")
    assert (folder / "attempts.jsonl").read_bytes() == before and calls == []
    assert "bird_ex" in rows(folder)[0]  # further scores need no new attempts
    with pytest.raises(SystemExit, match="another samples; choose another --output"):
        run("script:analyst", "--samples", 2)


def seen(attempt, calls):
    """The function, with a note of every task that its player is asked to attempt."""

    def wrapped(tasks, player, plan, file, on_done):
        def noting(task_ids, *rest):
            calls.extend(task_ids)
            return player(task_ids, *rest)

        return attempt(tasks, noting, plan, file, on_done)

    return wrapped


@pytest.fixture(scope="module")
def tokenizer(towns):
    with Text2SQLEnv(tasks=towns) as env:
        ids = [task.task_id for task in towns]
        return train_tokenizer(texts(env, Analyst(), ids, 0), 330, FineStep.scaffold)


def test_a_model_folder_is_sampled_within_its_context(run, tokenizer, tmp_path, capsys):
    model = tiny_qwen3(tokenizer, hidden=16, layers=1, heads=2, context=4096, seed=0)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    folder = run(str(tmp_path / "model"), "--max-new-tokens", 5, "--max-turns", 1, "--samples", 2)
    assert [row["sampled_tokens"] > 0 for row in rows(folder)] == [True] * 3
    short = run(str(tmp_path / "model"), "--context", 40, "--max-new-tokens", 5, folder="short")
    assert not any(any(row.values()) for row in rows(short))
    assert "3 prompts did not fit the context" in capsys.readouterr().out


def test_a_model_behind_an_endpoint_is_asked_and_judged(run, towns, monkeypatch):
    keys = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            keys.append(self.headers["Authorization"])
            asked = body["messages"][-1]["content"]
            gold = next(t.gold_sql[0] for t in towns if t.question in asked)
            choice = {"message": {"content": FineStep.answer("so", gold)}}
            data = json.dumps({"choices": [choice], "usage": {"completion_tokens": 9}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("A_KEY", "abc")
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        folder = run(url, "--model-name", "m", "--key-variable", "A_KEY", "--workers", 2)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [(row["ex"], row["sampled_tokens"]) for row in rows(folder)] == [(1, 9)] * 3
    assert set(keys) == {"Bearer abc"}
    assert not any("Bearer" in path.read_text() for path in folder.iterdir())


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["http://localhost:1/v1"], "--model-name"),
        (["script:golden"], "Did you mean 'gold'"),
        (["/nowhere/at/all"], "nowhere"),
    ],
)
def test_a_policy_that_is_not_there_is_named(run, flags, expected):
    with pytest.raises(SystemExit, match=expected):
        run(*flags)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--scores", "soft_f2"], "soft_f1"),
        (["--samples", "-1"], "samples"),
        (["--workers", "0"], "workers >= 1"),
        (["--samples", "64"], "rows >= samples"),
    ],
)
def test_flags_that_cannot_be_are_refused_with_a_reason(run, flags, expected, capsys):
    with pytest.raises(SystemExit):
        run("script:gold", *flags)
    assert expected in capsys.readouterr().err


def test_a_script_that_cannot_start_leaves_nothing_in_the_way(run, tmp_path):
    with pytest.raises(SystemExit):
        run("script:golden")
    assert not (tmp_path / "out").exists()
    assert Path(run("script:gold"), "table.md").exists()
