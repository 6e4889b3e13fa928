"""Verdicts of published evaluators on 80-odd pairs of queries, and a careful reader's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from text2sql_gym.errors import GoldError
from text2sql_gym.matching import MATCHERS
from text2sql_gym.matching.r_ves import RVes
from text2sql_gym.matching.strict import Strict

RECORDED = json.loads((Path(__file__).parents[2] / "vectors" / "verdicts.json").read_text())
PAIRS = {pair["id"]: pair for pair in RECORDED["pairs"]}

EVALUATORS = {
    "bird_ex": "bird_ex",
    "soft_f1": "bird_softf1",
    "spider_test_suite": "testsuite",
    "spider_test_suite_keep_distinct": "testsuite_keepdistinct",
}

NOT_A_QUERY = "the guard refuses what is not one SELECT, before any matcher sees it"
GOLD_FAILS = "a gold query that fails is a fault of the data, not a score"
REPAIRED = "the guard sees the statement as written; only gold queries are repaired"

DEVIATIONS = {
    # (matcher, pair): (score here, reason)
    **{
        (matcher, pair): (0.0, NOT_A_QUERY)
        for matcher in EVALUATORS
        for pair in ("emp6", "emp7", "emp8")
    },
    ("spider_test_suite", "err5"): (0.0, NOT_A_QUERY),
    ("spider_test_suite", "key1"): (0.0, REPAIRED),
    ("spider_test_suite_keep_distinct", "key1"): (0.0, REPAIRED),
}

BROKEN_GOLD = {"err3"}
ONLY_COPIES_CAN_TELL = {"val1", "val2"}
CLEAR = [name for name, pair in PAIRS.items() if pair["expected"] is not None]


@pytest.fixture(scope="module")
def database(open_database):
    return open_database(RECORDED["setup_sql"])


@pytest.mark.parametrize("pair_id", PAIRS)
@pytest.mark.parametrize("name", EVALUATORS)
def test_a_matcher_scores_as_the_evaluator_of_its_name(name, pair_id, database, judge):
    pair = PAIRS[pair_id]
    expected, _ = DEVIATIONS.get((name, pair_id), (pair["verdicts"][EVALUATORS[name]], ""))
    if pair_id in BROKEN_GOLD:
        with pytest.raises(GoldError):
            judge(MATCHERS[name](), pair["gold_sql"], pair["pred_sql"], database)
        return
    score = judge(MATCHERS[name](), pair["gold_sql"], pair["pred_sql"], database)
    assert score == pytest.approx(expected, abs=5e-5)  # recorded with four digits


def test_deviations_differ_from_the_recorded_verdicts():
    for (name, pair_id), (score, _) in DEVIATIONS.items():
        assert PAIRS[pair_id]["verdicts"][EVALUATORS[name]] != score


@pytest.mark.parametrize("pair_id", sorted(set(PAIRS) - BROKEN_GOLD))
def test_r_ves_pays_for_the_same_pairs_as_its_evaluator(pair_id, database, judge):
    pair = PAIRS[pair_id]
    pays = pair["verdicts"]["bird_rves"] > 0 and ("bird_ex", pair_id) not in DEVIATIONS
    score = judge(RVes(iterations=3), pair["gold_sql"], pair["pred_sql"], database)
    assert score in ({0.25, 0.5, 0.75, 1.0, 1.25} if pays else {0.0})


@pytest.mark.parametrize("pair_id", CLEAR)
@pytest.mark.parametrize("matcher", [Strict(), Strict(variants=0)], ids=["strict", "one_database"])
def test_strict_agrees_with_a_careful_reader(matcher, pair_id, database, judge):
    pair = PAIRS[pair_id]
    if pair_id in BROKEN_GOLD:
        with pytest.raises(GoldError, match="no such table: nope"):
            judge(matcher, pair["gold_sql"], pair["pred_sql"], database)
        return
    lucky = not matcher.variants and pair_id in ONLY_COPIES_CAN_TELL
    score = judge(matcher, pair["gold_sql"], pair["pred_sql"], database)
    assert score == (1.0 if lucky else pair["expected"])


@pytest.mark.parametrize("seed", range(1, 6))
def test_copies_never_refuse_what_a_careful_reader_accepts(seed, database, judge):
    matcher = Strict(variants=4, seed=seed)
    for pair in PAIRS.values():
        if pair["expected"] == 1:
            assert judge(matcher, pair["gold_sql"], pair["pred_sql"], database) == 1.0, pair["id"]
