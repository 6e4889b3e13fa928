"""Groups of attempts: exact tokens, the order of groups, and how attempts end."""

import pytest
from agents.batch import token_rows
from agents.digests import state_digest
from agents.policies.base import Sampling
from agents.policies.transformers import TransformersPolicy
from agents.rollout import Collector
from agents.types import Completion, Ended, Group, Trajectory
from text2sql_gym.errors import EnvironmentFault
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import CallOutcome, EpisodeOutcome

CALL = FineStep.call("look", "SELECT * FROM city")
ANSWER = FineStep.answer("done", "SELECT COUNT(*) FROM city")
WRONG = FineStep.answer("done", "SELECT 7")
BROKEN = FineStep.answer("done", "SELECT missing FROM city")


def long(rows):
    """A call of some tenths of a second, where the others take less than a millisecond."""
    return FineStep.call(
        "count",
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
        "SELECT COUNT(*) FROM n",
    )


class Told:
    """A policy that says what it is told, and whose youngest turn is complete first."""

    def __init__(self, chat, turns_of):
        self.chat, self.turns_of = chat, turns_of
        self.opened, self.asked, self.heard, self.closed = 0, [], {}, []

    def open(self, prompt_ids, seeds):
        handles = list(range(self.opened, self.opened + len(seeds)))
        self.opened += len(seeds)
        self.heard |= {handle: [tuple(prompt_ids)] for handle in handles}
        self.asked += handles
        return handles

    def extend(self, handle, token_ids):
        self.heard[handle].append(tuple(token_ids))
        self.asked.append(handle)

    def close(self, handle):
        self.closed.append(handle)

    def advance(self):
        if not self.asked:
            return []
        handle = self.asked.pop()
        turn = self.turns_of(handle)[len(self.heard[handle]) - 1]
        if isinstance(turn, Exception):
            raise turn
        return [(handle, turn if isinstance(turn, Completion) else self.said(turn))]

    def said(self, text, *, stopped=True):
        ids = self.chat.turn_ids(text)[: None if stopped else -1]
        return Completion(ids, (0.0,) * len(ids), self.chat.text(ids), stopped)


@pytest.fixture
def collect(make_env, chat):
    """Collect one group of told attempts at the first task: `turns[i]` is what attempt i says."""

    def run(*turns, overlap=False, **options):
        policy = Told(chat, lambda handle: turns[handle])
        collector = Collector(lambda: make_env(**options), chat, rows=8, overlap=overlap)
        (group,) = collector.collect(policy, ["shop/0"], len(turns), seed=0)
        collector.close()
        assert sorted(policy.closed) == list(range(len(turns)))
        return group.attempts

    return run


def sampler(model, chat, *, rows=16, new=100, temperature=1.0, context=512):
    return TransformersPolicy(model, chat, Sampling(new, temperature), rows=rows, context=context)


@pytest.fixture(scope="module")
def roll(make_env, chat, imitator):
    """Groups sampled from a model that has learnt to hold an episode."""

    def run(seed=0, rows=16, tasks=("shop/2", "shop/0"), group_size=4, overlap=False):
        collector = Collector(make_env, chat, rows=rows, overlap=overlap)
        groups = collector.collect(sampler(imitator, chat, rows=rows), tasks, group_size, seed)
        collector.close()
        return groups

    return run


def test_the_tokens_of_an_attempt_are_its_contexts_and_its_turns_in_order(roll, chat, make_env):
    attempts = [attempt for group in roll(group_size=8) for attempt in group.attempts]
    assert max(len(attempt.steps) for attempt in attempts) > 2
    for attempt in attempts:
        with make_env() as env:
            _, info = env.reset(options={"task_id": attempt.task_id})
            expected, mask = [], []
            for one in attempt.steps:
                context = chat.prompt_ids(info["messages"]) if not expected else (
                    chat.message_ids(info["messages"][0])
                )
                assert one.context_ids == context
                expected += [*context, *one.completion.token_ids]
                mask += [0.0] * len(context) + [1.0] * len(one.completion.token_ids)
                observation, *_, info = env.step(one.completion.text)
                assert one.observation == observation
        rows = token_rows([attempt])
        assert rows.token_ids_BT[0].tolist() == expected
        assert rows.mask_BT[0].tolist() == mask


def test_the_environment_is_given_the_text_of_the_sampled_tokens(make_env, chat, imitator):
    given = {}

    def recorded():
        env = make_env()
        step_of_env = env.step

        def step(action):
            given.setdefault(env.task.task_id, []).append(action)
            return step_of_env(action)

        env.step = step
        return env

    groups = Collector(recorded, chat, rows=1).collect(
        sampler(imitator, chat, rows=1), ["shop/2", "shop/3"], 1, seed=3
    )
    for group in groups:
        turns = [one.completion for one in group.attempts[0].steps]
        assert given[group.task_id] == [turn.text for turn in turns]
        assert given[group.task_id] == [chat.text(turn.token_ids) for turn in turns]


def test_groups_come_in_the_order_of_the_tasks_however_late_they_end(make_env, chat, tasks):
    ids = [task.task_id for task in tasks]
    policy = Told(chat, lambda handle: [CALL] * (4 - handle // 2 % 5) + [WRONG])
    groups = Collector(make_env, chat, rows=4).collect(policy, [*ids, *ids], 2, seed=0)
    assert [group.task_id for group in groups] == [*ids, *ids]
    for place, group in enumerate(groups):
        assert [attempt.task_id for attempt in group.attempts] == [group.task_id] * 2
        assert [len(attempt.steps) for attempt in group.attempts] == [5 - place % 5] * 2


def test_the_attempts_of_a_group_keep_the_order_in_which_they_were_opened(collect):
    attempts = collect([WRONG], [CALL, WRONG], [CALL, CALL, WRONG])
    assert [len(attempt.steps) for attempt in attempts] == [1, 2, 3]


@pytest.mark.parametrize(
    ("turn", "outcome", "reward"),
    [
        (ANSWER, EpisodeOutcome.MATCH, 1.0),
        (WRONG, EpisodeOutcome.MISMATCH, 0.0),
        (BROKEN, EpisodeOutcome.PREDICTED_ERROR, 0.0),
    ],
)
def test_an_answer_ends_the_attempt_as_submitted(collect, turn, outcome, reward):
    (attempt,) = collect([CALL, turn])
    assert attempt.ended is Ended.SUBMITTED
    assert (attempt.outcome, attempt.outcome_reward) == (outcome, reward)


def test_turns_without_an_answer_end_at_the_step_limit(collect):
    (attempt,) = collect([CALL, CALL, CALL], max_turns=3)
    assert attempt.ended is Ended.STEP_LIMIT and len(attempt.steps) == 3
    assert attempt.outcome == EpisodeOutcome.NO_SUBMISSION
    outcomes = [one.call_outcome for one in attempt.steps]
    assert outcomes == [CallOutcome.OK, CallOutcome.DUPLICATE, CallOutcome.DUPLICATE]


def test_a_turn_that_ran_out_of_tokens_is_the_last_and_is_judged(collect, chat):
    cut = Told(chat, None).said("<reasoning>and then", stopped=False)
    (attempt,) = collect([CALL, cut])
    assert attempt.ended is Ended.TOKEN_LIMIT and len(attempt.steps) == 2
    assert attempt.steps[1].call_outcome == CallOutcome.MALFORMED
    assert attempt.steps[1].process_reward == -1.0


def test_an_answer_whose_end_token_is_missing_is_an_answer(collect, chat):
    (attempt,) = collect([Told(chat, None).said(ANSWER, stopped=False)])
    assert attempt.ended is Ended.SUBMITTED and attempt.outcome == EpisodeOutcome.MATCH


def test_an_observation_that_fills_the_context_ends_the_attempt_without_a_turn(collect):
    (attempt,) = collect([CALL, Completion((), (), "", stopped=False)])
    assert attempt.ended is Ended.TOKEN_LIMIT and len(attempt.steps) == 1
    assert attempt.outcome == EpisodeOutcome.NO_SUBMISSION


def test_rewards_of_a_step_are_the_outcome_and_the_process_sum_of_its_terms(collect):
    # the answer 3 stands in the rows of the first call; the second repeats it
    (attempt,) = collect([CALL, CALL, ANSWER])
    assert [one.process_reward for one in attempt.steps] == [1.0, -1.0, 1.0]
    assert [one.outcome_reward for one in attempt.steps] == [0.0, 0.0, 1.0]
    assert attempt.steps[1].reward_terms["hard_constraints"] == -1.0
    assert [one.tool for one in attempt.steps] == ["execute_sql", "execute_sql", "submit"]


def test_a_group_shows_estimators_its_rewards(collect):
    attempts = collect([CALL, ANSWER], [WRONG])
    signals = Group("shop/0", attempts).signals()
    assert signals.outcome_G.tolist() == [1.0, 0.0]
    assert [process_S.tolist() for process_S in signals.process_GS] == [[1.0, 1.0], [0.0]]


def test_the_same_seed_gives_the_same_groups_and_another_seed_others(roll):
    assert roll(seed=5) == roll(seed=5) != roll(seed=6)


def test_the_number_of_rows_does_not_change_the_groups(roll):
    assert sampled(roll(rows=4)) == sampled(roll(rows=16))


def sampled(groups):
    return [
        [one.completion.token_ids for attempt in group.attempts for one in attempt.steps]
        for group in groups
    ]


def test_attempts_of_a_group_and_repeats_of_a_task_differ(roll):
    first, second = roll(tasks=("shop/2", "shop/2"))
    assert first.attempts != second.attempts
    assert len({sampled_turns(attempt) for attempt in first.attempts}) > 1


def sampled_turns(attempt):
    return tuple(one.completion.token_ids for one in attempt.steps)


def test_progress_is_told_once_an_episode_and_environments_are_used_again(make_env, chat):
    made, done = [], []

    def counted():
        made.append(make_env())
        return made[-1]

    collector = Collector(counted, chat, rows=4)
    policy = Told(chat, lambda handle: [ANSWER])
    collector.collect(policy, ["shop/0"] * 5, 2, seed=0, on_done=lambda: done.append(1))
    collector.collect(policy, ["shop/0"] * 5, 2, seed=0, on_done=lambda: done.append(1))
    assert len(made) == 4 and len(done) == 20


def test_a_group_that_does_not_fit_the_rows_is_refused(make_env, chat):
    with pytest.raises(ValueError, match="group_size 5 exceeds the policy's 4 rows"):
        Collector(make_env, chat, rows=4).collect(Told(chat, None), ["shop/0"], 5, seed=0)


def test_a_prompt_that_does_not_fit_the_context_is_refused(make_env, chat, model):
    policy = sampler(model, chat, context=8)
    with pytest.raises(ValueError, match="prompt tokens"):
        Collector(make_env, chat, rows=4).collect(policy, ["shop/0"], 1, seed=0)


def test_an_error_leaves_no_environment_open_and_the_collector_usable(make_env, chat):
    closed = []

    def watched():
        env = make_env()
        close = env.close
        env.close = lambda: (closed.append(env), close())
        return env

    collector = Collector(watched, chat, rows=2)
    fault = EnvironmentFault("the database is gone")
    with pytest.raises(EnvironmentFault, match="the database is gone"):
        collector.collect(Told(chat, lambda handle: [CALL, fault]), ["shop/0"], 2, seed=0)
    (group,) = collector.collect(Told(chat, lambda handle: [ANSWER]), ["shop/0"], 2, seed=0)
    assert len(group.attempts) == 2
    collector.close()
    assert len(closed) == 2


class Logged(Told):
    """Writes down when it is asked for turns and told answers."""

    def __init__(self, chat, turns_of):
        super().__init__(chat, turns_of)
        self.log = []

    def extend(self, handle, token_ids):
        self.log.append(f"told {handle}")
        super().extend(handle, token_ids)

    def advance(self):
        self.log.append("asked")
        return super().advance()


@pytest.mark.parametrize(
    ("overlap", "log"), [(False, ["asked", "told 1", "asked"]), (True, ["asked", "asked"])]
)
def test_with_overlap_the_others_go_on_while_a_statement_runs(make_env, chat, overlap, log):
    rows = 600_000 + overlap  # another statement each time: none that is remembered
    turns = [[CALL, CALL, CALL, WRONG], [long(rows), WRONG]]  # the second attempt speaks first
    policy = Logged(chat, lambda handle: turns[handle])
    collector = Collector(make_env, chat, rows=2, overlap=overlap)
    (group,) = collector.collect(policy, ["shop/0"], 2, seed=0)
    collector.close()
    assert policy.log[: len(log)] == log
    assert policy.log.count("asked") <= 12  # six turns; the others wait for answers
    assert [len(attempt.steps) for attempt in group.attempts] == [4, 2]
    assert str(rows) in group.attempts[1].steps[0].observation


def test_with_overlap_the_same_is_said_and_answered(roll, collect):
    assert roll(overlap=True) == roll()
    one, other = long(400_000), long(500_000)
    turns = [one, ANSWER], [CALL, other, WRONG], [BROKEN], [one, one, ANSWER]
    assert collect(*turns, overlap=True) == collect(*turns)


def test_with_overlap_an_observation_that_fills_the_context_ends_its_attempt(collect, chat):
    full = Completion((), (), "", False)
    first, second = collect([long(300_000), full], [CALL, full], overlap=True)
    assert (first.ended, second.ended) == (Ended.TOKEN_LIMIT, Ended.TOKEN_LIMIT)
    assert [len(attempt.steps) for attempt in (first, second)] == [1, 1]


def test_with_overlap_a_fault_is_raised_and_another_collection_begins_anew(make_env, chat):
    turns = [[BROKEN], [long(600_000), WRONG]]

    def frail():
        env = make_env()
        step = env.step

        def failing(action):
            if action == chat.text(chat.turn_ids(BROKEN)):
                raise EnvironmentFault("the database is gone")
            return step(action)

        env.step = failing
        return env

    collector = Collector(frail, chat, rows=2, overlap=True)
    with pytest.raises(EnvironmentFault, match="the database is gone"):
        collector.collect(Told(chat, lambda handle: turns[handle]), ["shop/0"], 2, seed=0)
    told = Told(chat, lambda handle: [long(600_000), ANSWER])
    (group,) = collector.collect(told, ["shop/0"], 2, seed=0)
    assert [attempt.outcome for attempt in group.attempts] == [EpisodeOutcome.MATCH] * 2
    collector.close()


def test_with_overlap_what_an_error_left_under_way_does_not_disturb_the_next(make_env, chat):
    collector = Collector(make_env, chat, rows=2, overlap=True)
    turns = [[EnvironmentFault("stop")], [long(1_000_000), WRONG]]
    with pytest.raises(EnvironmentFault, match="stop"):
        collector.collect(Told(chat, lambda handle: turns[handle]), ["shop/0"], 2, seed=0)
    turns = [[long(1_900_000), ANSWER], [ANSWER]]
    told = Told(chat, lambda handle: turns[handle])
    (group,) = collector.collect(told, ["shop/0"], 2, seed=0)
    assert [len(attempt.steps) for attempt in group.attempts] == [2, 1]
    collector.close()


def test_no_tasks_give_no_groups(make_env, chat):
    assert Collector(make_env, chat, rows=2).collect(Told(chat, None), [], 2, seed=0) == []


def test_an_attempt_without_a_turn_cannot_be_credited():
    empty = Trajectory("task", "easy", (), Ended.TOKEN_LIMIT, "no_submission")
    with pytest.raises(ValueError, match="attempt 0: expected at least one step"):
        Group("task", (empty,)).signals()


def test_turns_after_the_same_answer_are_in_the_same_state_and_no_others():
    prompt, answer = (1, 23), (4,)
    assert state_digest(prompt) == state_digest((1, 23)) != state_digest((12, 3))
    assert state_digest(answer) != state_digest(prompt) and state_digest(()) != ""
