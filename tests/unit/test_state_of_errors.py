"""A turn in error may carry a table or views; its state is taken again with them, not without."""

import pytest
from sqlite_files import SHOP, write

from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.errors import StateError
from text2sql_gym.protocols import PROTOCOLS
from text2sql_gym.types import ToolCall

COUNT = "SELECT count(*) FROM sale"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("errors") / "shop.sqlite", SHOP)


@pytest.fixture
def pair(path, request):
    """Two environments under the protocol and the scheme that a test names."""
    name, rewards = request.param
    task = {"task_id": "t", "database": str(path), "question": "How many?", "gold_sql": COUNT}
    made = [Text2SQLEnv(tasks=[task], protocol=name, rewards=rewards) for _ in range(2)]
    yield made
    for env in made:
        env.close()


@pytest.mark.parametrize("pair", [("trust_sql", "trust_sql")], indirect=True)
def test_an_answer_that_broke_the_order_is_judged_again(pair):
    env, other = pair
    env.reset()
    answer = PROTOCOLS["trust_sql"]().write(ToolCall("submit", {"sql": COUNT}))
    observation, reward, terminated, _, info = env.step(answer)
    assert (info["call_outcome"], info["outcome"], terminated) == ("no_proposal", "match", True)
    assert env.last_turn.result.error and env.last_turn.result.table is not None
    assert other.reset(options={"state": info["state"]}) == (observation, info)
    assert other.last_turn == env.last_turn


@pytest.mark.parametrize("pair", [("cocte", "reward_sql")], indirect=True)
def test_views_before_one_that_failed_are_credited_again(pair):
    env, other = pair
    write = PROTOCOLS["cocte"]().write
    chain = "WITH a AS (SELECT id FROM sale), b AS (SELECT nme FROM a)"
    answer = "WITH a AS (SELECT id FROM sale) SELECT count(*) FROM a"
    env.reset()
    observation, _, _, _, info = env.step(write(ToolCall("run_ctes", {"sql": chain})))
    assert info["call_outcome"] == "sql_error"
    assert [view.name for view in env.last_turn.result.views] == ["a", "b"]
    assert other.reset(options={"state": info["state"]}) == (observation, info)
    assert other.last_turn == env.last_turn
    action = write(ToolCall("submit_ctes", {"sql": answer}))
    assert other.step(action) == env.step(action)


@pytest.mark.parametrize("pair", [("finestep", "finestep")], indirect=True)
@pytest.mark.parametrize("line", ["[7]", "[null]", "[]", "{}", "7", '["hello", "x"]', "hello"])
def test_a_line_that_is_no_turn_is_damage(pair, line):
    env, other = pair
    _, info = env.reset()
    head, digest = info["state"].split("\n")
    with pytest.raises(StateError, match="the state is damaged"):
        other.reset(options={"state": f"{head}\n{line}\n{digest}"})
