"""Scripts that know the gold query: what they look up, waste and submit."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from agents.policies.scripted import SCRIPTS, Analyst, _said, _with_first_column, gold
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.lookups import Lookup, lookups
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.tools.propose_schema import parse_proposal
from text2sql_gym.types import CallOutcome, EpisodeOutcome

CAREFUL = Analyst(
    spare_look=0.0, spare_values=0.0, trial=0.0, slip=0.0, repeat=0.0, wrong=0.0
)
EPISODES = 400


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT name FROM city WHERE country = 'NO'", [("city", "country", "NO")]),
        (
            "SELECT COUNT(*) FROM sale AS s JOIN city AS c ON s.city_id = c.id "
            "WHERE c.country = 'IT' AND s.state = 'DONE'",
            [("city", "country", "IT"), ("sale", "state", "DONE")],
        ),
        ("SELECT 1 FROM city JOIN sale ON 1 WHERE country = 'NO'", []),  # whose column is it?
        ("SELECT 1 FROM city, sale WHERE city.country = 'NO'", [("city", "country", "NO")]),
        ("SELECT \"a b\" FROM \"my t\" WHERE \"zip c\" = 'O''Hara'", [("my t", "zip c", "O'Hara")]),
        ("SELECT [a b] FROM `order` WHERE [group] = 'x'", [("order", "group", "x")]),
        ("SELECT a FROM t WHERE a = 'x' OR a = 'y' OR a = 'x'", [("t", "a", "x"), ("t", "a", "y")]),
        ("SELECT a FROM t WHERE a = 1 OR a > 'x' OR a LIKE 'x'", []),
        ("SELECT a FROM t WHERE a <> 'x'", []),
        (
            "SELECT a FROM t WHERE b = 'x' AND a IN (SELECT c FROM u WHERE d = 'y')",
            [("t", "b", "x"), ("u", "d", "y")],
        ),
        (  # Spider's golds use the same aliases in every part
            "SELECT T1.a FROM t AS T1 WHERE T1.b = 'x' EXCEPT "
            "SELECT T1.c FROM u AS T1 WHERE T1.d = 'y'",
            [("t", "b", "x"), ("u", "d", "y")],
        ),
        (
            "SELECT T1.a FROM t AS T1 WHERE T1.b = 'x' AND T1.a IN "
            "(SELECT T1.c FROM u AS T1 WHERE T1.d = 'y')",
            [("t", "b", "x"), ("u", "d", "y")],
        ),
        ("SELECT a FROM (SELECT a FROM t) AS s WHERE s.a = 'x'", []),
        ("SELECT FROM WHERE (", []),
        ("", []),
    ],
)
def test_the_comparisons_of_a_query_with_a_text(sql, expected):
    found = [(lookup.table, lookup.column, lookup.value) for lookup in lookups(sql)]
    assert sorted(found) == sorted(expected)


def test_a_probe_shows_the_values_of_a_column_whatever_its_name():
    assert Lookup("city", "country", "NO").probe == "SELECT DISTINCT country FROM city"
    probe = Lookup("order", 'zip "c"', "x").probe
    assert probe == 'SELECT DISTINCT "zip ""c""" FROM "order"'


def test_gold_earns_a_match_on_every_task(make_env, tasks):
    with make_env() as env:
        for task in tasks:
            env.reset(options={"task_id": task.task_id})
            (turn,) = gold(env.task, env.schema, np.random.default_rng(0))
            assert env.step(turn)[4]["outcome"] == EpisodeOutcome.MATCH


@pytest.fixture(scope="module")
def schema(make_env, tasks):
    with make_env() as env:
        env.reset(options={"task_id": tasks[0].task_id})
        return env.schema


def episodes(analyst, task, schema, count=EPISODES):
    """(queries of the calls, submitted query) of many episodes."""
    for seed in range(count):
        turns = analyst(task, schema, np.random.default_rng(seed))
        calls = [FineStep().parse(turn) for turn in turns]
        assert [call.tool for call in calls] == ["execute_sql"] * (len(calls) - 1) + ["submit"]
        queries = [call.arguments["sql"] for call in calls]
        yield queries[:-1], queries[-1]


def test_needed_lookups_are_always_made_before_the_answer(tasks, schema):
    for task, probes in [
        (tasks[2], {"SELECT DISTINCT country FROM city"}),
        (tasks[4], {"SELECT DISTINCT country FROM city", "SELECT DISTINCT state FROM sale"}),
    ]:
        for calls, answer in episodes(Analyst(), task, schema, 300):
            assert probes <= set(calls) and answer == task.gold_sql[0]
        for calls, _ in episodes(CAREFUL, task, schema, 3):
            assert len(calls) == len(probes) and set(calls) == probes


def test_without_waste_only_what_is_needed_is_done(tasks, schema):
    for place in (0, 1, 3):  # the fourth spells its value
        assert list(episodes(CAREFUL, tasks[place], schema, 5)) == [
            ([], tasks[place].gold_sql[0])
        ] * 5


def share(found):
    return sum(found) / EPISODES


def near(rate):
    """Within four standard deviations of a share of the episodes."""
    return pytest.approx(rate, abs=4 * (rate * (1 - rate) / EPISODES) ** 0.5)


def test_wasteful_steps_appear_at_their_rates(tasks, schema):
    sql = tasks[3].gold_sql[0]
    look = replace(CAREFUL, spare_look=0.4)
    tables = Counter(calls[0] for calls, _ in episodes(look, tasks[3], schema) if calls)
    assert set(tables) == {f"SELECT * FROM {schema[0].name} LIMIT 2"}
    assert share(tables.values()) == near(0.4)

    values = replace(CAREFUL, spare_values=0.3)
    probe = ["SELECT DISTINCT name FROM city"]
    assert share(calls == probe for calls, _ in episodes(values, tasks[3], schema)) == near(0.3)

    trial = replace(CAREFUL, trial=0.6)
    assert share(calls == [sql] for calls, _ in episodes(trial, tasks[3], schema)) == near(0.6)

    slip = replace(CAREFUL, trial=1.0, slip=0.2)
    slips = [calls for calls, _ in episodes(slip, tasks[3], schema) if len(calls) == 2]
    assert share([True] * len(slips)) == near(0.2)
    assert all(first != sql and second == sql for first, second in slips)

    repeat = replace(CAREFUL, trial=1.0, repeat=0.25)
    twice = [sql, sql]
    assert share(calls == twice for calls, _ in episodes(repeat, tasks[3], schema)) == near(0.25)

    wrong = replace(CAREFUL, wrong=0.15)
    assert share(answer != sql for _, answer in episodes(wrong, tasks[3], schema)) == near(0.15)


def test_haste_skips_the_lookups_and_writes_values_as_they_are_said(tasks, schema):
    hasty = replace(CAREFUL, haste=0.35)
    unseen = [answer for calls, answer in episodes(hasty, tasks[4], schema) if not calls]
    assert share([True] * len(unseen)) == near(0.35)
    assert set(unseen) == {tasks[4].gold_sql[0].replace("'IT'", "'it'").replace("'DONE'", "'done'")}
    assert list(episodes(replace(CAREFUL, haste=1.0), tasks[3], schema, 3)) == [
        ([], tasks[3].gold_sql[0])
    ] * 3  # what the question spells is no guess


@pytest.mark.parametrize(
    ("sql", "padded"),
    [
        ("SELECT name FROM city", "SELECT id, name FROM city"),
        ("SELECT name FROM city WHERE name = 'x'", "SELECT id, name FROM city WHERE name = 'x'"),
        ("SELECT id FROM city", "SELECT id FROM city"),
        ("SELECT COUNT(*) FROM city", "SELECT COUNT(*) FROM city"),
        ("SELECT MAX(id) FROM city", "SELECT MAX(id) FROM city"),
        ("SELECT DISTINCT name FROM city", "SELECT DISTINCT name FROM city"),
        ("SELECT name FROM elsewhere", "SELECT name FROM elsewhere"),
    ],
)
def test_an_extra_column_is_added_to_plain_lists_only(schema, sql, padded):
    assert _with_first_column(sql, schema) == padded


def test_extra_columns_come_at_their_rate(tasks, schema):
    padded = replace(CAREFUL, extra=0.3)
    plain = tasks[2].gold_sql[0]
    answers = [answer for _, answer in episodes(padded, tasks[2], schema)]
    assert set(answers) == {plain, _with_first_column(plain, schema)}
    assert share(answer != plain for answer in answers) == near(0.3)


@pytest.mark.parametrize(
    ("value", "question", "said"),
    [
        ("B2-can wait", "How many jobs can wait, whose urgency is can wait?", "can wait"),
        ("CAN_WAIT_K", "How many are Can wait?", "Can wait"),
        ("urgent (K3)", "the urgent urgency", "urgent"),
        ("NO", "the Norwegian ones", "no"),
        ("URGE7", "urgent ones", "urge"),
    ],
)
def test_a_hasty_value_is_the_longest_run_of_the_questions_words_in_it(value, question, said):
    assert _said(value, question) == said


def test_any_earlier_call_may_be_repeated_and_a_repeat_comes_later(tasks, schema):
    repeat = replace(CAREFUL, repeat=1.0)
    sequences = {tuple(calls) for calls, _ in episodes(repeat, tasks[4], schema, 200)}
    (first, second) = next(calls for calls, _ in episodes(CAREFUL, tasks[4], schema, 1))
    assert sequences == {(first, first, second), (first, second, first), (first, second, second)}


def test_nothing_is_repeated_where_nothing_was_called(tasks, schema):
    repeat = replace(CAREFUL, repeat=1.0)
    assert all(not calls for calls, _ in episodes(repeat, tasks[0], schema, 20))


@pytest.mark.parametrize("turns", [1, 2, 3, 7])
def test_the_turns_never_exceed_their_number_and_the_last_is_the_answer(tasks, schema, turns):
    busy = Analyst(1.0, 1.0, 1.0, 1.0, 1.0, max_turns=turns)
    for calls, answer in episodes(busy, tasks[4], schema, 20):
        assert len(calls) == turns - 1 and answer == tasks[4].gold_sql[0]


class TestProposals:
    PROTOCOL = FineStep(style="compact", tools=("execute_sql", "propose_schema", "submit"))

    def calls(self, analyst, task, schema, count):
        for seed in range(count):
            turns = analyst(task, schema, np.random.default_rng(seed))
            yield [self.PROTOCOL.parse(turn) for turn in turns]

    def test_the_schema_of_the_answer_is_proposed_before_it_at_its_rate(self, tasks, schema):
        named = [
            {"city": ()}, {"city": ("name",)}, {"city": ("country", "name")},
            {"city": ("country", "name")},
            {"city": ("country", "id"), "sale": ("city_id", "state")},
        ]
        analyst = replace(CAREFUL, propose=0.6)
        for task, wanted in zip(tasks, named, strict=True):
            found = list(self.calls(analyst, task, schema, EPISODES))
            with_one = [calls for calls in found if calls[-2:-1] != [] and
                        calls[-2].tool == "propose_schema"]
            assert len(with_one) / EPISODES == near(0.6)
            for calls in with_one:
                assert parse_proposal(calls[-2].arguments["schema"]) == wanted
                assert [one.tool for one in calls].count("propose_schema") == 1

    def test_of_a_wrong_answer_it_is_the_wrong_schema(self, tasks, schema):
        analyst = replace(CAREFUL, propose=1.0, wrong=1.0)
        for calls in self.calls(analyst, tasks[2], schema, 5):
            assert calls[-2].arguments["schema"] == "city(name)"

    @pytest.mark.parametrize("turns", [1, 2, 3])
    def test_it_takes_the_place_of_a_call(self, tasks, schema, turns):
        busy = Analyst(1.0, 1.0, 1.0, 1.0, 1.0, propose=1.0, max_turns=turns)
        tools = ["execute_sql", "execute_sql", "propose_schema", "submit"]
        wanted = {1: ["submit"], 2: tools[2:], 3: tools[1:]}[turns]
        for calls in self.calls(busy, tasks[4], schema, 20):
            assert [one.tool for one in calls] == wanted

    def test_the_environment_takes_it(self, tasks):
        analyst = replace(CAREFUL, propose=1.0)
        with Text2SQLEnv(tasks=tasks, protocol=self.PROTOCOL) as env:
            for task in tasks:
                env.reset(options={"task_id": task.task_id})
                turns = analyst(env.task, env.schema, np.random.default_rng(0))
                infos = [env.step(turn)[4] for turn in turns]
                assert {info["call_outcome"] for info in infos} == {CallOutcome.OK}


def test_a_slip_is_an_error_and_a_right_answer_matches(make_env, tasks):
    analyst = replace(CAREFUL, trial=1.0, slip=1.0)
    with make_env() as env:
        for seed in range(40):
            env.reset(options={"task_id": tasks[seed % 5].task_id})
            turns = analyst(env.task, env.schema, np.random.default_rng(seed))
            outcomes = [env.step(turn)[4] for turn in turns]
            assert outcomes[-3]["call_outcome"] == CallOutcome.SQL_ERROR
            assert outcomes[-2]["call_outcome"] == CallOutcome.OK
            assert outcomes[-1]["outcome"] == EpisodeOutcome.MATCH


def test_a_wrong_answer_lacks_the_condition_or_asks_for_another_column(tasks, schema):
    wrong = replace(CAREFUL, wrong=1.0)
    for _, answer in episodes(wrong, tasks[2], schema, 5):
        assert answer == "SELECT name FROM city"
    answers = {answer for _, answer in episodes(wrong, tasks[0], schema, 100)}
    assert {"SELECT name FROM city", "SELECT state FROM sale"} <= answers


def test_scripts_are_known_by_name():
    assert SCRIPTS["gold"] is gold and SCRIPTS["analyst"] == Analyst()
