"""What every reward term pays for the known tricks, and that none is worth a right answer."""

import json
import sqlite3
from contextlib import closing

import gymnasium as gym
import pytest

from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.rewards import REWARDS, SCHEMES, RewardScheme


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    path = tmp_path_factory.mktemp("shop") / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, city TEXT, price REAL)")
        rows = [("Oslo", 3.5), ("Rome", 2.0), ("Rome", 7.0)]
        connection.executemany("INSERT INTO sale (city, price) VALUES (?, ?)", rows)
        connection.execute("CREATE TABLE staff (name TEXT, city TEXT)")
        connection.executemany("INSERT INTO staff VALUES (?, ?)", [("Ann", "Oslo"), ("Bo", "Bern")])
        connection.commit()
    return path


def tool(name, **arguments):
    call = json.dumps({"name": name, "arguments": arguments})
    return f"<reasoning>try</reasoning><tool_call>{call}</tool_call>"


def call(sql):
    return FineStep.call("try", sql)


def answer(sql):
    return FineStep.answer("sure", sql)


GOLD = "SELECT city, count(*) FROM sale WHERE price > 1 GROUP BY city"  # (Oslo, 1), (Rome, 2)
NOBODY = "SELECT id FROM sale WHERE city = 'Paris'"
DUMP = "SELECT * FROM sale"
MENTION = "SELECT 1 WHERE EXISTS (SELECT city, price FROM sale)"
NEAR = "SELECT city, count(*) FROM sale WHERE price < 1 GROUP BY city"
COPIED = "SELECT 'Oslo', 1 UNION ALL SELECT 'Rome', 2"
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 99"
PADDED = (
    "WITH a AS (SELECT city FROM sale), b AS (SELECT * FROM a), c AS (SELECT 1), "
    "d AS (SELECT city FROM a), e AS (SELECT id FROM sale) SELECT d.city FROM d, b, c"
)
EVERYTHING = "sale(id, city, price); staff(name, city)"


def run(shop, turns, gold=GOLD, rewards=RewardScheme({}, dict.fromkeys(REWARDS, 1.0))):
    """Each raw term summed over the turns, and the reward."""
    task = {"task_id": "t", "database": shop, "question": "?", "gold_sql": gold}
    tools = {"tools": ["execute_sql", "propose_schema", "submit"]}
    env = gym.make(
        "Text2SQL-v0", tasks=[task], rewards=rewards, protocol_options=tools, max_turns=12
    )
    env.reset()
    sums, total = {}, 0.0
    for action in turns:
        _, reward, _, _, info = env.step(action)
        total += reward
        for name, value in info["reward_terms"].items():
            sums[name] = sums.get(name, 0.0) + value
    env.close()
    return sums, total


TRICKS = {
    "a star": [call(DUMP)],
    "a star as the answer": [answer(DUMP)],
    "a repeat": [call(DUMP), call(DUMP)],
    "a repeat with a comment": [call(DUMP), call("select * from SALE; -- again")],
    "a repeat in other words": [call(DUMP), call("SELECT *, 1 FROM sale")],
    "a dump of another table": [call("SELECT * FROM staff")],
    "guessed constants": [call("SELECT 'Oslo', 'Rome', 1, 2")],
    "the result written down": [answer(COPIED)],
    "all numbers": [call(NUMBERS)],
    "no rows": [call("SELECT city FROM sale WHERE 0")],
    "the columns mentioned": [call(MENTION)],
    "the columns mentioned in the answer": [answer(MENTION)],
    "the right words, wrong": [answer(NEAR)],
    "a list of literals": [answer("SELECT city, id FROM sale WHERE price IN (0,1,2,3,4,5,6,7)")],
    "SELECT 1": [answer("SELECT 1")],
    "padding CTEs": [call(PADDED)],
    "a CTE of constants": [call("WITH a AS (SELECT 'Oslo' AS x) SELECT x FROM a")],
    "everything proposed": [tool("propose_schema", schema=EVERYTHING), answer("SELECT 1")],
    "one proposal after another": [
        tool("propose_schema", schema="sale(city)"),
        tool("propose_schema", schema="sale(city, price)"),
        tool("propose_schema", schema="sale(price, city)"),
        answer("SELECT 1"),
    ],
    "empty gestures": [
        call("SELECT 1"),
        tool("propose_schema", schema="staff(name)"),
        call("SELECT 2"),
        answer("SELECT 3"),
    ],
    "calls without end": [call(f"SELECT {n}") for n in range(10, 14)],
    "a dump in every turn": [call(f"SELECT *, {n} FROM sale") for n in range(10, 17)],
    "a comment": [answer("-- nothing")],
    "a write": [answer("DELETE FROM sale")],
    "nothing": [answer("")],
    "no call at all": ["SELECT 1"],
    "a broken form, then nothing": ["SELECT 1", "SELECT 1"],
    "a syntax error": [call("SELEC 1"), answer("SELEC 1")],
}


def reads(precision, recall, f1, named=None):
    """What the six terms of schema linking pay; the text says the same unless `named` is given."""
    by_text = named or (precision, recall, f1)
    names = ("schema_precision", "schema_recall", "schema_f1")
    engine = dict(zip(names, (precision, recall, f1), strict=True))
    return engine | {f"named_{name}": paid for name, paid in zip(names, by_text, strict=True)}


def times(count, terms):
    return {name: count * paid for name, paid in terms.items()}


def cells(recall, f1):
    return {"cell_recall": recall, "cell_f1": f1, "progress_recall": recall}


RUNS = {"trust_sql_outcome": 0.2, "arctic_outcome": 0.1, "well_formed": 1}
FAILS = {"sql_r1_outcome": -1, "hard_constraints": -1}
ONE = cells(1 / 4, 2 / 5)  # 1 is one of the gold cells oslo, 1, rome, 2
# it shows the four gold cells among seven, one gold column of two, and reads id beside the two
STAR = cells(1, 8 / 11) | {"column_recall": 1 / 2} | reads(2 / 3, 1, 4 / 5)

PAYS = {  # what is not named pays 0; a turn that is no submission costs 1 beside this
    "a star": STAR,
    "a star as the answer": STAR | RUNS,
    "a repeat": STAR | {"hard_constraints": -1},
    "a repeat with a comment": STAR | {"hard_constraints": -1},
    # only progress sees through it
    "a repeat in other words": times(2, STAR) | {"progress_recall": 1},
    "a dump of another table": cells(1 / 4, 2 / 8),
    "guessed constants": cells(1, 1),
    # of Oslo, 1, Rome and 2 the gold query names 1, beside two columns
    "the result written down": cells(1, 1) | {"column_recall": 1, "entity_match": 2 / 7} | RUNS,
    "all numbers": cells(1 / 2, 4 / 103),
    "no rows": reads(1, 1 / 2, 2 / 3),
    "the columns mentioned": ONE | reads(1, 1, 1),
    "the columns mentioned in the answer": ONE | reads(1, 1, 1) | RUNS,
    "the right words, wrong": {"entity_match": 1} | reads(1, 1, 1) | RUNS,
    "a list of literals": (
        cells(1 / 2, 4 / 7) | {"entity_match": 6 / 14} | reads(2 / 3, 1, 4 / 5) | RUNS
    ),
    "SELECT 1": ONE | RUNS,
    # of five CTEs a and d are valid; the engine does not read the unused e
    "padding CTEs": (
        cells(1 / 2, 2 / 3)
        | {"column_recall": 1 / 2, "cte_validity": 2 / 5}
        | reads(1, 1 / 2, 2 / 3, named=(1 / 2, 1 / 2, 1 / 2))
    ),
    "a CTE of constants": ONE,
    "everything proposed": ONE | RUNS,
    "one proposal after another": ONE | RUNS | {"schema_proposal": 1},
    "empty gestures": (
        {"cell_recall": 1 / 2, "cell_f1": 4 / 5, "progress_recall": 1 / 4, "four_phases": 1} | RUNS
    ),
    "calls without end": {},
    "a dump in every turn": times(7, STAR | {"cell_f1": 8 / 12}) | {"progress_recall": 1},
    "a comment": FAILS,
    "a write": FAILS,
    "nothing": FAILS,
    "no call at all": FAILS | {"skyrl_sql_outcome": -1},
    "a broken form, then nothing": FAILS | {"skyrl_sql_outcome": -1, "hard_constraints": -2},
    "a syntax error": FAILS | {"hard_constraints": -2},
}


@pytest.mark.parametrize("trick", TRICKS)
def test_every_term_pays_a_trick_what_the_table_says(shop, trick):
    paid, _ = run(shop, TRICKS[trick])
    turns = sum("final_sql" not in turn for turn in TRICKS[trick])
    expected = dict.fromkeys(REWARDS, 0.0) | PAYS[trick] | {"call_cost": -turns}
    assert paid == pytest.approx(expected)


def test_every_term_is_paid_or_costs_in_some_episode(shop):
    honest = [
        call(DUMP),
        tool("propose_schema", schema="sale(city, price)"),
        call("WITH a AS (SELECT city FROM sale WHERE price > 1) SELECT city FROM a"),
        answer(GOLD),
    ]
    paid, _ = run(shop, honest)
    assert paid == pytest.approx(
        dict.fromkeys(REWARDS, 1.0)
        | times(2, reads(1, 1, 1))  # the query with the CTE, and the answer
        | {name: value + dict(reads(2, 2, 2))[name] for name, value in reads(2 / 3, 1, 0.8).items()}
        | {"sql_r1_outcome": 6, "hard_constraints": 0, "exploration": 1 / 2, "call_cost": -3}
        | {"cell_recall": 1 + 1 / 2 + 1, "cell_f1": 8 / 11 + 2 / 3 + 1}
        | {"column_recall": 1 / 2 + 1 / 2 + 1}
        | {"value_recall": 0}  # the gold query compares with no text
    )


@pytest.mark.parametrize(
    ("turns", "paid"),
    [
        ([call("SELECT DISTINCT city FROM sale")], 1.0),
        ([call("SELECT DISTINCT city FROM staff")], 0.0),
        ([call(DUMP), call(DUMP)], 1.0),
        ([call(DUMP), call("SELECT * FROM sale ORDER BY id")], 2.0),  # other words, paid again
        ([call("SELECT 'Rome'")], 1.0),  # a guess that is right
        ([answer(DUMP)], 0.0),
        ([call("SELECT city FROM nowhere")], 0.0),
    ],
)
def test_a_look_at_a_value_that_the_question_does_not_spell_is_paid(shop, turns, paid):
    paid_here = run(shop, turns, gold="SELECT id FROM sale WHERE city = 'Rome'")[0]
    assert paid_here["value_recall"] == paid


def test_half_of_the_values_to_look_up_pay_a_half(shop):
    gold = "SELECT id FROM sale WHERE city = 'Rome' OR city = 'Bern'"
    assert run(shop, [call("SELECT city FROM sale")], gold=gold)[0]["value_recall"] == 0.5


def test_a_value_that_the_question_spells_is_none_to_look_up(shop):
    task = {
        "task_id": "t", "database": shop, "question": "Which sales were in Rome?",
        "gold_sql": "SELECT id FROM sale WHERE city = 'Rome'",
    }
    with closing(gym.make("Text2SQL-v0", tasks=[task], rewards="finestep_values")) as env:
        env.reset()
        *_, info = env.step(call("SELECT city FROM sale"))
    assert info["reward_terms"]["value_recall"] == 0.0


@pytest.mark.parametrize("scheme", SCHEMES)
class TestEveryScheme:
    def test_pays_no_trick_half_as_much_as_a_right_answer_at_once(self, shop, scheme):
        _, right = run(shop, [answer(GOLD)], rewards=scheme)
        tricks = {name: run(shop, turns, rewards=scheme)[1] for name, turns in TRICKS.items()}
        dumps = tricks.pop("a dump in every turn")
        assert dumps < right
        assert max(tricks.values()) < right / 2

    def test_pays_no_refused_answer(self, shop, scheme):
        for trick in ("a comment", "a write", "nothing", "a syntax error"):
            assert run(shop, TRICKS[trick], rewards=scheme)[1] <= 0

    def test_pays_a_right_answer_after_looking_no_less_than_a_dump(self, shop, scheme):
        _, looked = run(shop, [call(DUMP), answer(GOLD)], rewards=scheme)
        _, dumped = run(shop, [call(DUMP), answer(DUMP)], rewards=scheme)
        assert looked > dumped + 0.5


class TestAnEmptyGold:
    def test_is_recalled_by_any_empty_result_but_not_matched_without_reading_a_table(self, shop):
        paid, _ = run(shop, [call("SELECT 1 WHERE 0")], gold=NOBODY)
        shown = ("cell_recall", "cell_f1", "column_recall", "progress_recall")
        assert {name for name, value in paid.items() if value > 0} == set(shown)
        assert run(shop, [answer("SELECT 1 WHERE 0")], gold=NOBODY)[0]["execution_match"] == 0

    def test_is_not_matched_by_a_write(self, shop):
        assert run(shop, [answer("DELETE FROM sale")], gold=NOBODY)[0]["execution_match"] == 0


def test_exploring_useless_column_by_column_is_paid_as_exploring(shop):
    turns = [call("SELECT city FROM sale"), call("SELECT price FROM sale"), answer("SELECT 1")]
    assert run(shop, turns)[0]["exploration"] == 1.0


def test_one_cte_around_the_query_is_valid(shop):
    around = f"WITH a AS ({GOLD}) SELECT * FROM a"
    assert run(shop, [answer(around)])[0]["cte_validity"] == 1.0
