"""Which calls a policy with a memory could have left out, on real results."""

import pytest
from agents.conversation import converse, scripted
from agents.metrics import attempt_metrics, redundant
from text2sql_gym.protocols.finestep import FineStep

ANSWER = FineStep.answer("done", "SELECT COUNT(*) FROM city")


@pytest.fixture
def play(make_env):
    """Play the first task with these statements, each a call of its own, and answer."""

    def run(*statements, env=None):
        turns = [
            said if said.startswith("<") or said == "gibberish" else FineStep.call("look", said)
            for said in statements
        ]
        env = env or make_env(max_turns=9)
        with env:
            begin = scripted(lambda task, schema, draws: [*turns, ANSWER])
            return converse(env, begin, "shop/0", 0.0, 0)

    return run


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (["SELECT name FROM city", "select name\nfrom city -- again"], [False, True]),
        (["SELECT nothing FROM city", "SELECT nothing FROM city"], [False, True]),
        (["SELECT nothing FROM city", "SELECT 1 + nothing FROM city"], [False, True]),
        (["SELECT nothing FROM city", "SELECT nobody FROM city"], [False, False]),
        (["SELECT name FROM city", "SELECT name FROM city WHERE id < 9"], [False, True]),
        (["SELECT name FROM city", "SELECT name FROM city WHERE id < 3"], [False, False]),
        (["SELECT name FROM city", "SELECT name AS town FROM city"], [False, False]),
        (["SELECT COUNT(*) AS n FROM city", "SELECT COUNT(*) AS n FROM sale"], [False, False]),
        (["SELECT COUNT(*) AS n FROM city", "SELECT 3 AS n"], [False, False]),
        (["SELECT random()", "SELECT RANDOM()"], [False, True]),  # answered otherwise, a repeat
        (["gibberish", "gibberish"], [False, False]),
        (["SELECT 1", "SELECT 2", "SELECT 1", "SELECT 1"], [False, False, True, True]),
    ],
)
def test_a_call_is_redundant_when_it_repeats_or_shows_nothing_new(play, statements, expected):
    attempt = play(*statements)
    assert redundant(attempt.steps) == [*expected, False]
    assert attempt_metrics(attempt)["redundant_calls"] == sum(expected)


def test_the_answer_is_never_redundant_though_its_trial_ran(play):
    attempt = play("SELECT COUNT(*) FROM city")
    assert redundant(attempt.steps) == [False, False]
    assert attempt.outcome == "match"
    numbers = attempt_metrics(attempt)
    assert (numbers["calls"], numbers["redundant_calls"], numbers["error_calls"]) == (1, 0, 0)


def test_a_repeated_error_is_an_error_and_redundant(play):
    numbers = attempt_metrics(play("SELECT x FROM city", "gibberish", "SELECT x FROM city"))
    assert (numbers["calls"], numbers["redundant_calls"], numbers["error_calls"]) == (2, 1, 3)


def test_a_result_is_the_same_though_one_turn_is_left(play, make_env):
    # the last observation but one says so in a line of its own, which is no part of the result
    attempt = play("SELECT 1 AS one", "SELECT 2 - 1 AS one", env=make_env(max_turns=3))
    assert "One turn is left" in attempt.steps[1].observation
    assert redundant(attempt.steps) == [False, True, False]


def answered(make_env, sql):
    begin = scripted(lambda task, schema, draws: [FineStep.answer("done", sql)])
    with make_env() as env:
        return converse(env, begin, "shop/0", 0.0, 0).steps[0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("SELECT name FROM city", "SELECT name AS n FROM city ORDER BY 1 DESC", True),
        ("SELECT 3", "SELECT 3.0", True),
        ("SELECT 3", "SELECT '3'", False),
        ("SELECT 1 UNION ALL SELECT 1", "SELECT 1", False),
        ("SELECT 9007199254740993", "SELECT 9007199254740992", False),
        ("SELECT 0.1 + 0.2", "SELECT 0.3", True),
        ("SELECT NULL", "SELECT 'None'", False),
    ],
)
def test_answers_agree_when_their_rows_do(make_env, one, other, same):
    digests = [answered(make_env, sql).answer for sql in (one, other)]
    assert all(digests) and (digests[0] == digests[1]) is same


def test_an_answer_that_fails_has_no_digest_and_shows_nothing(make_env):
    step = answered(make_env, "SELECT nothing FROM city")
    assert (step.answer, step.shown) == ("", "")
    assert step.arguments == {"sql": "SELECT nothing FROM city"}


def test_numbers_that_no_integer_equals_have_a_digest(make_env):
    assert answered(make_env, "SELECT 9e999, -9e999, 1e300").answer
