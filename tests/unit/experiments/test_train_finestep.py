"""The training script from end to end, in miniature: to the table, and after every kind of end."""

import json
import re
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from experiments import evaluate
from experiments.alone import alone
from experiments.train_finestep import main
from experiments.transcripts import TranscriptFile

torch.set_num_threads(1)

SCRIPT = Path(__file__).resolve().parents[3] / "experiments" / "train_finestep.py"

WARM_STEPS, UPDATES = 310, 5

FLAGS = (
    f"--threads 1 --databases 6 --unseen-databases 2 --questions 12 --hidden 48 --layers 2 "
    f"--heads 2 --vocabulary 800 --context 300 --max-new-tokens 70 --max-turns 3 --shown-rows 2 "
    f"--demonstrations 80 --warm-steps {WARM_STEPS} --warm-batch 4 "
    f"--warm-rate 1e-2 --updates {UPDATES} --tasks 2 --group-size 4 --minibatches 2 --rate 1e-3 "
    f"--eval-tasks 6 --eval-samples 2 --transcripts 2 --save-every 1"
).split()


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """The synthetic databases are made here once, not in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEXT2SQL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder of a run as a stranger starts it, and what it printed."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    result = subprocess.run(
        [sys.executable, SCRIPT, *FLAGS, "--output", folder], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


class Started:
    """The script in a process of its own, whose output can be waited for."""

    def __init__(self, *argv, before=None):
        self.process = subprocess.Popen(
            [sys.executable, "-u", SCRIPT, *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            preexec_fn=before,
        )
        self.output, self._text = self.process.stdout, ""

    def wait_for(self, bar, number):
        """Read until a progress bar has reached a number."""
        while not any(int(n) >= number for n in re.findall(rf"{bar}: .*? (\d+)/", self._text)):
            read = self.output.read(4096)
            assert read, f"{bar} never reached {number}:\n{self._text}"
            self._text += read.decode(errors="replace")

    def end(self, sent=None):
        """Send a signal, if any; return the exit code and all output."""
        if sent is not None:
            self.process.send_signal(sent)
        while read := self.output.read(4096):
            self._text += read.decode(errors="replace")
        self.output.close()
        return self.process.wait(), self._text


def metrics(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if "seconds" not in name}
        for line in lines
    ]


def assert_equal_runs(one, other):
    assert metrics(one) == metrics(other)
    assert sorted(path.name for path in one.iterdir()) == sorted(
        path.name for path in other.iterdir()
    )
    transcripts = [f"transcripts/{path.name}" for path in (one / "transcripts").iterdir()]
    for name in ("evaluation-before.json", "evaluation-after.json", "table.md", *transcripts):
        assert (one / name).read_text() == (other / name).read_text()
    for name in ("step-1000005", "step-2000000"):
        weights = Path("checkpoints", name, "model.safetensors")
        assert (one / weights).read_bytes() == (other / weights).read_bytes()


def test_the_script_runs_to_the_table(uninterrupted):
    folder, printed = uninterrupted
    table = (folder / "table.md").read_text()
    assert printed.endswith(f"{table}\nreport: {folder / 'report.html'}\n")
    assert "attempt" in (folder / "report.html").read_text()
    assert table.startswith("6 tasks, one greedy attempt each and 2 sampled ones")
    assert re.search(r"\| ex \| \d\.\d{3} \| \d\.\d{3} \| [+-]\d\.\d{3} \(", table)
    stored = json.loads((folder / "config.json").read_text())
    assert stored["config"]["hidden"] == 48 and stored["machine"]["torch"]
    assert json.dumps(stored["config"], indent=1) in printed

    warm, train = metrics(folder)[: WARM_STEPS // 10], metrics(folder)[WARM_STEPS // 10 :]
    assert [line["step"] for line in warm] == list(range(0, WARM_STEPS, 10))
    assert warm[-1]["loss"] < warm[0]["loss"] / 3
    assert [line["update"] for line in train] == list(range(UPDATES))
    assert all({"ex", "calls", "redundant_calls"} <= line.keys() for line in train)
    assert sum("loss" in line for line in train) > 2  # the updates had something to learn from


def test_every_update_says_where_its_time_went(uninterrupted):
    text = (uninterrupted[0] / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    updates = [line for line in lines if "loss" in line and line["phase"] == "train"]
    for name in ("generation", "sql", "encode", "credit", "assemble", "logprobs", "backward"):
        assert all(line[f"seconds_{name}"] > 0 for line in updates), name


def test_attempts_are_kept_with_the_credit_they_were_given(uninterrupted):
    folder = uninterrupted[0] / "transcripts"
    names = [f"update-{n:05d}.jsonl" for n in (0, 2, 4)]  # every second one, and the last
    expected = ["evaluation-after.jsonl", "evaluation-before.jsonl", *names]
    assert sorted(path.name for path in folder.iterdir()) == expected
    for name in names:
        for group in TranscriptFile(folder / name).read():
            assert len(group.attempts) == 4 and group.greedy is None and group.gold_sql
            lengths = [len(attempt.steps) for attempt in group.attempts]
            assert [len(credit) for credit in group.credit] == lengths
    for group in TranscriptFile(folder / "evaluation-after.jsonl").read():
        assert len(group.attempts) == 2 and group.greedy and not group.credit


def test_a_run_killed_in_each_phase_and_resumed_is_an_uninterrupted_one(uninterrupted, tmp_path):
    folder = tmp_path / "killed"
    run = Started(*FLAGS, "--output", folder)
    run.wait_for("warm start", 105)
    with pytest.raises(SystemExit, match=f"another process is at work on {folder}"):
        alone(folder, wait=0).__enter__()
    assert run.end(signal.SIGKILL)[0] == -signal.SIGKILL
    run = Started("--resume", folder)
    run.wait_for("finestep", 2)
    assert run.end(signal.SIGKILL)[0] == -signal.SIGKILL
    code, printed = Started("--resume", folder).end()
    assert code == 0, printed
    assert "warm start" not in printed
    assert_equal_runs(folder, uninterrupted[0])


def test_a_run_stopped_by_ctrl_c_saves_and_says_how_to_go_on(uninterrupted, tmp_path):
    folder = tmp_path / "stopped"
    argv = [*FLAGS, "--output", folder]
    # the second time before the first step: the state of the optimiser must not be lost
    for bar, number in (("warm start", 20), ("demonstrations", 1), ("finestep", 1)):
        run = Started(*argv)
        run.wait_for(bar, number)
        code, printed = run.end(signal.SIGINT)
        assert code == 130, printed
        assert f"stopped\nresume with: python {SCRIPT} --resume {folder}" in printed
        assert "Traceback" not in printed
        argv = ["--resume", folder]
    code, printed = Started("--resume", folder).end()
    assert code == 0, printed
    assert "warm start" not in printed
    assert_equal_runs(folder, uninterrupted[0])


def test_a_finished_run_can_be_resumed_to_see_its_table(uninterrupted, capsys):
    folder, _ = uninterrupted
    before = metrics(folder)
    main(["--resume", str(folder)])
    assert (folder / "table.md").read_text() in capsys.readouterr().out
    assert metrics(folder) == before


METHODS = {
    "refilled": "--preset dapo --estimator finestep --rounds 3 --overlong keep",
    "token level": "--preset ppo --unit token --estimator-options process_weight=1.0 "
    "--correction tis --minibatches 1",
    "progress": "--estimator spa --signal-steps 5",
    "prover": "--estimator pav --rollouts 2 --best-of 1",
    "process rewards": "--estimator reward_sql --signal-steps 5 --rollouts 2 --best-of 1",
    "greedy": "--estimator remax --estimator-options process_weight=1.0",
    "branches": "--estimator tree_grpo --estimator-options process_weight=1.0",
    "information": "--estimator igpo",
}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_is_stopped_in_its_sampling_and_resumed_is_an_uninterrupted_one(
    method, uninterrupted, tmp_path, monkeypatch
):
    warm = uninterrupted[0]
    argv = [*FLAGS, *METHODS[method].split(), "--warm-start", str(warm), "--updates", "2"]
    argv += ["--eval-tasks", "0", "--eval-samples", "0", "--transcripts", "0"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    main([*argv, "--output", str(whole)])

    @contextmanager
    def pressed_later():
        left = iter(range(12))  # in the second update: eight episodes and an update come before

        def let_through():
            if next(left, None) is None:
                raise KeyboardInterrupt

        yield let_through

    with monkeypatch.context() as patch:
        patch.setattr("experiments.train_finestep.held_back", pressed_later)
        assert ending(*argv, "--output", stopped) == "130"
    assert len(metrics(stopped)) < 2
    main(["--resume", str(stopped)])
    assert metrics(whole) == metrics(stopped) and len(metrics(whole)) == 2
    weights = [
        (folder / "model.safetensors").read_bytes()
        for folder in (*(run / "checkpoints/step-2000000" for run in (whole, stopped)),
                       warm / "warm_start/step-000000")
    ]
    assert weights[0] == weights[1] != weights[2]


def ending(*argv):
    """The message that a run ends with."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in argv])
    return str(end.value)


def test_a_folder_that_holds_a_run_is_not_written_over(uninterrupted):
    folder, _ = uninterrupted
    expected = f"{folder} holds a run; go on with --resume {folder}, or remove it"
    assert ending("--output", folder) == expected


def test_resuming_what_is_not_there_says_what_was_expected(tmp_path):
    expected = f"--resume: expected {tmp_path / 'none' / 'config.json'}, which is not there"
    assert ending("--resume", tmp_path / "none") == expected


def test_a_run_that_could_not_begin_does_not_block_its_folder(tmp_path):
    folder = tmp_path / "run"
    argv = ["--dataset", "spider", "--data-dir", tmp_path / "none", "--output", folder]
    assert "DatasetError" in ending(*argv) and "resume" not in ending(*argv)
    assert not (folder / "config.json").exists()


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is here")
def test_an_engine_that_is_not_installed_is_told_before_anything_is_done(tmp_path):
    folder = tmp_path / "run"
    message = ending(*FLAGS, "--sampler", "vllm", "--output", folder)
    assert "pip install 'text2sql-gym[vllm]'" in message and not folder.exists()


def test_a_loss_that_is_not_finite_ends_in_a_message(tmp_path):
    folder = tmp_path / "run"
    message = ending(*FLAGS, "--output", folder, "--warm-rate", "nan")
    assert "the imitation loss is nan at step 1" in message
    assert f"resume with: python {sys.argv[0]} --resume {folder}" in message


def test_a_full_disk_ends_in_a_message(tmp_path):
    folder = tmp_path / "run"
    limited = ("--warm-steps", "0", "--updates", "0", "--output", folder)
    code, printed = Started(
        *FLAGS, *limited,
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1)),
    ).end()
    assert code == 1 and "CheckpointError: cannot write the checkpoint" in printed
    assert "Traceback" not in printed


def test_a_database_of_ones_own_is_trained_and_evaluated_on(tmp_path, towns, capsys):
    folder = tmp_path / "run"
    none = ("--warm-steps", "0", "--updates", "0", "--context", "300")
    main([*FLAGS, *none, "--database", towns[0].database, "--output", str(folder)])
    stored = json.loads((folder / "config.json").read_text())["config"]
    assert (stored["dataset"], stored["data_dir"]) == ("own", towns[0].database)
    evaluated = json.loads((folder / "evaluation-after.json").read_text())["task_ids"]
    assert evaluated and all(name.startswith("own/towns/") for name in evaluated)
    main(["--resume", str(folder)])
    assert (folder / "table.md").read_text() in capsys.readouterr().out


def test_a_run_is_evaluated_again_on_its_own_tasks_unless_others_are_named(uninterrupted, tmp_path):
    folder, _ = uninterrupted
    chosen = json.loads((folder / "evaluation-after.json").read_text())["task_ids"]
    flags = ["--policy", str(folder), "--rows", "8", "--output"]

    def tasks_of(name, *more):
        evaluate.main([*flags, str(tmp_path / name), *more])
        return json.loads((tmp_path / name / "results.json").read_text())["task_ids"]

    assert tasks_of("own") == chosen
    other = tasks_of("other", "--dataset", "synthetic", "--tasks", "2")
    assert len(other) == 2 and not set(other) & set(chosen)


def test_a_run_that_was_evaluated_on_nothing_asks_for_a_dataset(tmp_path):
    folder = tmp_path / "run"
    none = ("--warm-steps", "0", "--updates", "0", "--eval-tasks", "0")
    main([*FLAGS, *none, "--output", str(folder)])
    with pytest.raises(SystemExit, match="was evaluated on no task; expected --dataset"):
        evaluate.main(["--policy", str(folder), "--output", str(tmp_path / "evaluation")])


def test_broken_checkpoints_are_never_silently_begun_anew(tmp_path):
    folder = tmp_path / "run"
    main([*FLAGS, "--warm-steps", "0", "--updates", "0", "--output", str(folder)])
    for path in folder.glob("checkpoints/*/state.pt"):
        path.unlink()
    expected = f"no checkpoint in {folder} is whole; remove it to begin anew"
    assert ending("--resume", folder) == expected


def test_a_context_in_which_no_prompt_fits_is_told_at_once(tmp_path):
    message = ending(*FLAGS, "--context", "80", "--output", tmp_path / "run")
    assert message == "no prompt fits in --context 80 tokens"
