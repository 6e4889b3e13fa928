"""The scripts that environments are timed with: what repeats in them, and what does not."""

import random
import sqlite3

from experiments.bench_shop import build, episodes, pooled_episodes


def test_scripts_of_a_pool_share_thirty_statements_that_are_new_and_repeat_none_within():
    seen, draws = set(), random.Random(0)
    before = {s for script in episodes("light", 50, 4, seen, draws) for s in script.statements}
    scripts = list(pooled_episodes(50, 4, seen, draws))
    pool = {sql for script in scripts for sql in (*script.trials, script.gold)}
    assert len(pool) == 30 and not pool & before and pool <= seen
    assert all(len({*script.trials, script.gold}) == 4 for script in scripts)


def test_an_answer_is_its_gold_query_in_another_spelling(tmp_path):
    build(tmp_path / "shop.sqlite", 0)
    connection = sqlite3.connect(tmp_path / "shop.sqlite")
    for script in pooled_episodes(10, 4, set(), random.Random(1)):
        assert script.answer != script.gold
        rows = connection.execute(script.answer).fetchall()
        assert rows == connection.execute(script.gold).fetchall()
    connection.close()
