"""Attempts on real databases by scripts, turned into numbers that can be checked by hand."""

from contextlib import closing

import pytest
from agents.conversation import scripted
from experiments.evaluation import Evaluation, Plan, attempt, judge, vote
from experiments.players import TextPlayer
from experiments.transcripts import AttemptRecord, TranscriptFile
from text2sql_gym.errors import UnknownName
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import Limits

RIGHT = "SELECT COUNT(*) FROM city"
LOOK = FineStep.call("look", "SELECT * FROM city")


@pytest.fixture
def play(towns, towns_env, tmp_path):
    """Evaluate a script: `answer(place of the task, draws)` is the query it submits."""

    def run(answer, *, samples=0, seed=0, before=(LOOK, LOOK), scores=("soft_f1",), tasks=towns):
        places = {task.task_id: place for place, task in enumerate(towns)}

        def script(task, schema, draws):
            return [*before, FineStep.answer("done", answer(places[task.task_id], draws))]

        file = TranscriptFile(tmp_path / "told.jsonl")
        with closing(TextPlayer(towns_env, scripted(script), 2)) as player:
            records = attempt(tasks, player, Plan(samples, seed=seed), file)
        assert file.read() == records
        file.path.unlink()
        return judge(tasks, records, Limits(), scores)

    return run


def gold(towns):
    return lambda place, draws: towns[place].gold_sql[0]


def test_the_gold_script_is_right_everywhere(play, towns):
    found = play(gold(towns), samples=2, scores=("soft_f1", "bird_ex", "r_ves"))
    assert found.samples == 2 and found.too_long == 0
    assert found.task_ids == ("towns/0", "towns/1", "towns/2")
    assert found.difficulties == ("easy", "easy", "hard") and found.tables == (1, 1, 2)
    for name in ("ex", "soft_f1", "bird_ex", "pass_at_k", "majority_vote", "sampled_ex"):
        assert found.column(name).tolist() == [1, 1, 1], name
    assert found.column("r_ves").min() >= 50  # 100 * sqrt(1/4) at least
    assert found.column("calls").tolist() == [2, 2, 2]
    assert found.column("redundant_calls").tolist() == [1, 1, 1]
    assert found.column("error_calls").tolist() == [0, 0, 0]


def test_a_wrong_answer_has_partial_credit_only_where_cells_agree(play):
    # of the second gold's two rows one is there: precision 1, recall 1/2. The third gold is Oslo
    # alone, and right by coincidence, which the perturbed copies of the strict matcher tell.
    found = play(lambda place, draws: "SELECT name FROM city WHERE country = 'NO' LIMIT 1")
    assert found.column("ex").tolist() == [0, 0, 0]
    assert found.column("soft_f1").tolist() == pytest.approx([0, 2 / 3, 1])


def test_an_answer_that_fails_and_one_that_is_missing_score_nothing(play):
    failing = play(lambda place, draws: "SELECT nothing")
    assert failing.column("soft_f1").sum() == failing.column("ex").sum() == 0
    assert failing.column("submitted").tolist() == [1, 1, 1]
    silent = play(lambda place, draws: RIGHT, before=(LOOK,) * 7)
    assert silent.column("submitted").sum() == silent.column("ex").sum() == 0
    assert silent.column("soft_f1").sum() == 0


def test_pass_at_k_and_sampled_ex_are_of_the_sampled_attempts(play):
    # each attempt has draws of its own; about half of them answer the first question
    found = play(lambda place, draws: RIGHT if draws.random() < 0.5 else "SELECT 4", samples=6)
    share, passed = found.column("sampled_ex")[0], found.column("pass_at_k")[0]
    assert 0 < share < 1 and passed == 1
    assert found.column("pass_at_k")[1:].tolist() == [0, 0]


def answered(*answers):
    """Attempts with these digests; "right" is right."""
    outcomes = {"right": "match", "": "no_submission"}
    return [
        AttemptRecord(outcomes.get(answer, "mismatch"), "submitted", {"place": place}, answer, ())
        for place, answer in enumerate(answers)
    ]


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        (["right", "a", "a"], 1),
        (["a", "right", "right"], 1),
        (["a", "right"], 0),  # a tie goes to the earliest
        (["b", "a", "right", "right", "a"], 1),
        (["", "", "", "right"], 3),  # what was not answered has no vote
        (["", ""], None),
        ([], None),
    ],
)
def test_the_majority_decides_and_nobody_looks_at_the_gold(answers, winner):
    found = vote(answered(*answers))
    assert (found and found.numbers["place"]) == winner


def test_evaluations_survive_json(play, towns):
    found = play(gold(towns), samples=1)
    assert Evaluation.from_json(found.as_json()) == found


def test_an_unknown_score_is_refused_by_name(play, towns):
    with pytest.raises(UnknownName, match="soft_f1"):
        play(gold(towns), scores=("soft_f2",))


class Interrupted:
    """A player that is killed in the `calls`-th chunk."""

    def __init__(self, player, calls):
        self.player, self.calls, self.seen = player, calls, []

    def __call__(self, task_ids, *rest):
        self.seen.append(tuple(task_ids))
        if len(self.seen) > self.calls:
            raise KeyboardInterrupt
        return self.player(task_ids, *rest)


@pytest.mark.parametrize("torn", [False, True])
def test_an_interrupted_evaluation_goes_on_where_it_was(towns, towns_env, tmp_path, torn):
    plan, file = Plan(samples=2, chunk=1), TranscriptFile(tmp_path / "a" / "told.jsonl")
    whole = TranscriptFile(tmp_path / "whole.jsonl")
    with closing(TextPlayer(towns_env, scripted(noisy), 1)) as player:
        expected = attempt(towns, player, plan, whole)
        first = Interrupted(player, 4)
        with pytest.raises(KeyboardInterrupt):
            attempt(towns, first, plan, file)
        if torn:
            with file.path.open("a") as stream:
                stream.write('{"task_id": "tow')
        second, done = Interrupted(player, 99), []
        assert attempt(towns, second, plan, file, lambda: done.append(1)) == expected
        assert second.seen == [("towns/2",)] * 2 and len(done) == plan.episodes(len(towns))
        assert attempt(towns, Interrupted(player, 0), plan, file) == expected
    assert file.path.read_bytes() == whole.path.read_bytes()


def noisy(task, schema, draws):
    answer = FineStep.answer("done", f"SELECT {draws.integers(9)}")
    return [LOOK] * int(draws.integers(3)) + [answer]


def test_no_two_chunks_share_their_draws(towns, towns_env, tmp_path):
    seeds = []
    with closing(TextPlayer(towns_env, scripted(noisy), 1)) as player:
        for seed in (0, 1):

            def noting(task_ids, group_size, temperature, drawn, on_done):
                seeds.append(drawn)
                return player(task_ids, group_size, temperature, drawn, on_done)

            file = TranscriptFile(tmp_path / f"{seed}.jsonl")
            attempt(towns, noting, Plan(samples=1, seed=seed, chunk=1), file)
    assert len(seeds) == 12  # greedy and sampled, three chunks, two seeds
    sampled = seeds[1::2]
    assert len(set(sampled)) == 6


def test_half_a_chunk_is_attempted_again(towns, towns_env, tmp_path):
    plan, file = Plan(chunk=2), TranscriptFile(tmp_path / "told.jsonl")
    with closing(TextPlayer(towns_env, scripted(noisy), 1)) as player:
        expected = attempt(towns, player, plan, file)
        file.write(expected[:1])
        again = Interrupted(player, 99)
        assert attempt(towns, again, plan, file) == expected
    assert again.seen == [("towns/0", "towns/1"), ("towns/2",)]


def test_transcripts_of_other_tasks_or_samples_are_not_mixed_in(towns, towns_env, tmp_path):
    file = TranscriptFile(tmp_path / "told.jsonl")
    with closing(TextPlayer(towns_env, scripted(noisy), 1)) as player:
        attempt(towns[:2], player, Plan(2), file)
        with pytest.raises(ValueError, match="other tasks"):
            attempt(towns[1:], player, Plan(2), file)
        with pytest.raises(ValueError, match="number of samples"):
            attempt(towns, player, Plan(3), file)


def test_a_task_whose_prompt_does_not_fit_is_a_failure_without_calls(towns, towns_env, tmp_path):
    class Short:
        def __init__(self, player):
            self.player = player

        def __call__(self, task_ids, *rest):
            return self.player([name for name in task_ids if name != "towns/1"], *rest)

    file = TranscriptFile(tmp_path / "told.jsonl")
    with closing(TextPlayer(towns_env, scripted(noisy), 1)) as player:
        records = attempt(towns, Short(player), Plan(2), file)
    found = judge(towns, records, Limits())
    assert found.too_long == 1 and len(found.rows) == 3
    assert not any(found.rows[1].values())
    assert found.rows[0].keys() == found.rows[1].keys()


@pytest.mark.parametrize("options", [{"samples": -1}, {"temperature": -0.1}, {"chunk": 0}])
def test_a_plan_that_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match="expected samples"):
        Plan(**options)
