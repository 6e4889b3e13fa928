"""The report of a run: real episodes, hostile texts, and what the page says of them."""

import base64
import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from html.parser import HTMLParser

import pytest
from agents.conversation import scripted
from agents.credit import FineStep, assign
from agents.metrics import MetricsFile
from experiments.config import Config
from experiments.evaluation import Plan, attempt, judge
from experiments.players import TextPlayer
from experiments.report import main, write_report
from experiments.reporting.browser import browser_data, embedded, evenly
from experiments.reporting.charts import (
    Series,
    line_chart,
    number,
    running_mean,
    stacked_bar,
    ticks,
)
from experiments.reporting.folder import RunFolder
from experiments.reporting.kinds import KINDS, endings, kinds
from experiments.transcripts import GroupRecord, TranscriptFile
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols.finestep import FineStep as Protocol
from text2sql_gym.types import Limits, Task

HOSTILE = "</script>\u2028<script>alert(1)</script><img src=x onerror=\"document.title='pwned'\">'&"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Two tasks over a database that holds hostile text, with hostile names of their own."""
    path = tmp_path_factory.mktemp("hostile") / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)")
        connection.execute("INSERT INTO note VALUES (1, ?), (2, 'plain')", [HOSTILE])
        connection.commit()
    gold = "SELECT text FROM note WHERE id = 1"
    return tuple(
        Task(f"{HOSTILE}{n}", str(path), f"What? {HOSTILE}", (gold,), HOSTILE, HOSTILE, "", HOSTILE)
        for n in range(2)
    )


def wavering(task, schema, draws):
    """Looks, repeats itself, errs, says what is malformed; right about half the time."""
    look = Protocol.call("look", "SELECT * FROM note")
    turns = [look] * int(draws.integers(3))
    turns += [Protocol.call("try", f"SELECT '{HOSTILE.replace(chr(39), '')}' FROM nothing")]
    turns += [HOSTILE] * int(draws.integers(2))
    answer = task.gold_sql[0] if draws.random() < 0.5 else "SELECT 7"
    return [*turns, Protocol.answer(HOSTILE, answer)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tasks):
    """A run folder with everything that a finished run leaves, but for its weights."""
    path = tmp_path_factory.mktemp("run") / "a<b>run"
    path.mkdir()
    config = Config().as_dict() | {"data_dir": HOSTILE}
    record = {"config": config, "revision": HOSTILE, "machine": {"processor": HOSTILE}}
    (path / "config.json").write_text(json.dumps(record))
    lines = MetricsFile(path / "metrics.jsonl")
    for step in range(0, 400, 10):
        lines.append({"phase": "warm_start", "step": step, "loss": 3 - step / 200})
    for update in range(3):
        lines.append({
            "phase": "train", "update": update, "ex": 0.25 * update, "pass_at_group": 0.5,
            "calls": 3.0 - update, "seconds_generation": 3.0, "seconds_backward": 1.0,
        })
    make = lambda: Text2SQLEnv(tasks=tasks, matcher="strict_one_database")  # noqa: E731
    with closing(TextPlayer(make, scripted(wavering), 1)) as player:
        for name, seed in (("before", 1), ("after", 2)):
            file = TranscriptFile(path / "transcripts" / f"evaluation-{name}.jsonl")
            records = attempt(tasks, player, Plan(2, seed=seed), file)
            found = judge(tasks, records, Limits())
            (path / f"evaluation-{name}.json").write_text(found.as_json())
        groups = player([task.task_id for task in tasks], 6, 1.0, 5, lambda: None).values()
    credits = assign(FineStep(), [group.signals() for group in groups])
    TranscriptFile(path / "transcripts" / "update-00002.jsonl").write(
        GroupRecord.of(task, group, credit=credit)
        for task, group, credit in zip(tasks, groups, credits, strict=True)
    )
    return path


@pytest.fixture(scope="module")
def page(folder):
    return write_report(folder).read_text(encoding="utf-8")


class Read(HTMLParser):
    """Every element with its attributes, the texts by element, and what was not closed."""

    VOID = {"meta", "input", "br", "img", "link"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found, self.texts, self.open = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def test_the_page_is_well_formed_and_has_every_part(page):
    read = Read(page)
    assert read.open == []
    assert read.texts["h2"] == [
        "Before and after", "Learning", "Turns and rewards by kind", "Trajectories",
        "Where the time goes", "Configuration",
    ]
    assert "Right answers" in read.texts["figcaption"]
    cells = read.texts["th"]
    assert {"ex", "soft F1", "pass@2", "majority vote of 2", "redundant calls"} <= set(cells)
    assert {"call in error", "right answer", "malformed turn"} <= set(cells)
    assert "75 %" in read.texts["b"] and "generation " in read.texts["li"]


def test_no_text_of_a_run_becomes_markup(page):
    read = Read(page)
    assert [tag for tag, _ in read.found].count("script") == 2
    assert not any(tag in ("img", "iframe", "a", "link", "form", "base") for tag, _ in read.found)
    assert not any(name.startswith("on") for _, attributes in read.found for name in attributes)
    assert "<img" not in page and "alert(1)</script>" not in page
    assert HOSTILE in read.texts["dd"]  # shown, as text


def test_no_text_of_a_run_ends_the_data_and_all_of_it_comes_through(page, folder):
    data = Read(page).texts["script"][0]
    assert not set("<>&\u2028") & set(data)
    assert json.loads(data) == browser_data(RunFolder(folder))
    group = json.loads(data)[0]["groups"][0]
    assert group["question"] == f"What? {HOSTILE}\n{HOSTILE}" and group["database"] == HOSTILE
    assert any(HOSTILE in step["text"] for a in group["attempts"] for step in a["steps"])


def test_the_page_asks_nobody_for_anything_and_runs_its_own_script_only(page):
    read = Read(page)
    policy = next(a["content"] for _, a in read.found if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    script = read.texts["script"][1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert not any({"src", "href"} & attributes.keys() for _, attributes in read.found)
    assert not re.search(r"https?:|url\(|@import|innerHTML|eval\(", page)


def test_every_turn_has_finesteps_credit_beside_the_flat_credit_of_grpo(folder):
    source = browser_data(RunFolder(folder))[0]
    assert source["name"] == "update 2"
    stored = TranscriptFile(folder / "transcripts" / "update-00002.jsonl").read()
    for group, record in zip(source["groups"], stored, strict=True):
        fine, flat = group["credit"]["FineStep"], group["credit"]["GRPO"]
        lengths = [len(attempt["steps"]) for attempt in group["attempts"]]
        assert [len(one) for one in fine] == [len(one) for one in flat] == lengths
        assert all(len(set(one)) == 1 for one in flat)
        assert any(len(set(one)) > 1 for one in fine)
        right = [attempt["outcome"] == "match" for attempt in group["attempts"]]
        assert [one[0] > 0 for one in flat] == right  # better than the mean of a mixed group
        for one, other in zip(fine, record.credit, strict=True):
            assert one == pytest.approx(other, abs=1e-4)


def test_a_greedy_attempt_is_compared_with_no_other_and_has_no_credit(folder):
    group = browser_data(RunFolder(folder))[1]["groups"][0]
    assert [one["name"] for one in group["attempts"]] == ["greedy", "sampled 1", "sampled 2"]
    assert group["credit"]["GRPO"][0] == [] and group["credit"]["GRPO"][1]


def test_another_estimator_is_shown_beside_the_two(folder, tmp_path):
    other = tmp_path / "rloo"
    shutil.copytree(folder, other)
    record = json.loads((other / "config.json").read_text())
    record["config"]["estimator"] = "rloo"
    (other / "config.json").write_text(json.dumps(record))
    credit = browser_data(RunFolder(other))[0]["groups"][0]["credit"]
    assert list(credit) == ["FineStep", "GRPO", "rloo (trained)"]


def test_long_texts_are_cut_and_say_so(folder, tmp_path, tasks):
    long = tmp_path / "long"
    shutil.copytree(folder, long)
    file = TranscriptFile(long / "transcripts" / "update-00002.jsonl")
    lines = file.path.read_text().replace("look", "look" * 1_000)
    file.path.write_text(lines)
    texts = [step["text"] for group in browser_data(RunFolder(long))[0]["groups"]
             for one in group["attempts"] for step in one["steps"]]
    assert max(map(len, texts)) < 3_100 and any("characters)" in text for text in texts)


@pytest.mark.parametrize("kept", [(), ("metrics.jsonl",), ("evaluation-before.json",)])
def test_a_run_that_has_just_begun_has_a_page_too(folder, tmp_path, kept):
    young = tmp_path / "young"
    young.mkdir()
    for name in ("config.json", *kept):
        shutil.copy(folder / name, young / name)
    main([str(young)])
    text = (young / "report.html").read_text()
    assert Read(text).open == []
    assert "not been evaluated" in text
    assert ("No update has been taken yet." in text) is ("metrics.jsonl" not in kept)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"expected .*config\.json, which is not there"):
        main([str(tmp_path)])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_shows_the_trajectories_and_runs_nothing_else(page, folder, tmp_path):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={tmp_path}", "--virtual-time-budget=2000", "--dump-dom"]
    command = ["chromium", *flags, (folder / "report.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=240).stdout
    read = Read(shown.replace("<!DOCTYPE html>", ""))
    classes = [attributes.get("class", "") for _, attributes in read.found]
    assert classes.count("attempt") == 6 and "chip" in classes and "step" in classes
    assert "pwned" not in read.texts["title"][0]
    assert not any(tag == "img" for tag, _ in read.found)
    assert any(HOSTILE in text for text in read.texts["p"])


def records(folder):
    groups = TranscriptFile(folder / "transcripts" / "update-00002.jsonl").read()
    return [attempt for group in groups for attempt in group.attempts]


def test_every_turn_is_of_one_kind(folder):
    attempts = records(folder)
    found = kinds(attempts)
    turns = sum(len(attempt.steps) for attempt in attempts)
    assert sum(kind.per_episode for kind in found.values()) * len(attempts) == pytest.approx(turns)
    assert list(found) == [name for name in KINDS if name in found]
    assert found["call in error"].per_episode == 1.0  # one in each
    assert found["call in error"].terms["hard_constraints"] == -1.0
    assert found["right answer"].terms["execution_match"] == 1.0
    both = found["right answer"].per_episode + found["wrong answer"].per_episode
    assert both == pytest.approx(endings(attempts)["submitted"])
    assert kinds([]) == {}


def test_ticks_are_round_and_within_the_range():
    assert ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1.0]
    assert ticks(-3, 9) == [0, 5]
    assert ticks(0.0012, 0.0048) == [0.002, 0.003, 0.004]


def test_a_line_goes_from_corner_to_corner():
    chart = line_chart("t", [Series("a", [0, 1], [0, 1])], "x")
    assert 'class="line s0" d="M46.0 164.0L350.0 10.0"' in chart
    assert "<title>a at 1: 1</title>" in chart


def test_many_points_are_smoothed_over_the_raw_line():
    chart = line_chart("t", [Series("a", range(40), [0, 1] * 20)], "x")
    assert 'class="raw s0"' in chart and 'class="line s0"' in chart
    assert running_mean([1, 3, 5, 7], 2) == [1, 2, 4, 6]


def test_a_chart_of_nothing_is_nothing_and_of_one_value_has_a_range():
    assert line_chart("t", [Series("a", [], [])], "x") == ""
    assert "nan" not in line_chart("t", [Series("a", [3], [0.0])], "x")
    assert "nan" not in line_chart("t", [Series("a", [1, 2], [5.0, 5.0])], "x")


@pytest.mark.parametrize(
    ("value", "said"),
    [(3.0, "3"), (1234.0, "1,234"), (0.5, "0.5"), (0.00123456, "0.00123"), (12.3456, "12.35")],
)
def test_numbers_are_short(value, said):
    assert number(value) == said


def test_two_bars_with_the_same_names_have_the_same_colours():
    one, other = stacked_bar({"a": 3, "b": 1}, "s"), stacked_bar({"a": 0, "b": 1})
    assert '<span class="s0" style="width:75.00%"' in one and "3 s" in one
    assert 's1" style="width:100.00%"' in other and "s0" not in other
    assert stacked_bar({"a": 0}) == stacked_bar({}) == ""


def test_places_are_even_and_keep_both_ends():
    assert evenly(3, 12) == [0, 1, 2]
    assert evenly(100, 4) == [0, 33, 66, 99]


def test_data_in_a_script_has_no_sign_that_could_end_it():
    text = "</script><!--&\u2028\u2029'\""
    assert not set("<>&\u2028\u2029") & set(embedded(text))
    assert json.loads(embedded(text)) == text
