"""What `experiments.bench_env` compares: each runs the same scripts and says what it took."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import gymnasium as gym

import text2sql_gym  # noqa: F401  registers Text2SQL-v0
from experiments.bench_shop import DATABASE, Script
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.vector import Text2SQLVectorEnv

Play = Callable[[Sequence[Script]], None]
"""Run every script to its end. Raises `RuntimeError` where one does not earn the full reward."""


@dataclass(frozen=True)
class Cost:
    """Seconds that a run took: on the wall, and of all processors together, workers included."""

    wall: float
    cpu: float


def timed(run: Callable[[], Any]) -> Cost:
    """Run once."""
    wall, cpu = perf_counter(), _cpu_seconds()
    run()
    return Cost(perf_counter() - wall, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """Processor time of this process, its threads, and its living children (Linux)."""
    children = [
        pid
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    spent = [Path("/proc", pid, "schedstat").read_text().split()[0] for pid in children]
    return process_time() + sum(map(int, spent)) / 1e9


def raw_connection(path: Path) -> sqlite3.Connection:
    """A plain read-only connection, open as long as the benchmark."""
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)


def play_raw(connection: sqlite3.Connection, scripts: Sequence[Script], *, gold: bool) -> None:
    """Only run the statements, the gold query too or not, and fetch all rows."""
    for script in scripts:
        for sql in script.statements if gold else script.statements[:-1]:
            connection.execute(sql).fetchall()


@contextmanager
def raw_processes(path: Path, count: int) -> Iterator[Play]:
    """Plain SQLite in that many processes side by side: the most that so many cores give."""
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:

        def play(scripts: Sequence[Script]) -> None:
            list(pool.map(partial(_play_one_raw, path), scripts))

        yield play


def _play_one_raw(path: Path, script: Script) -> None:
    play_raw(_kept_connection(path), [script], gold=False)


_kept_connection = cache(raw_connection)


def tasks_of(path: Path, scripts: Sequence[Script]) -> list[dict[str, Any]]:
    """The scripts as tasks of this package's environment, numbered from 0."""
    return [
        {
            "task_id": str(number),
            "database": str(path),
            "question": "What does the script look up?",
            "gold_sql": script.gold,
        }
        for number, script in enumerate(scripts)
    ]


def actions_of(script: Script) -> list[str]:
    """The turns of a script in the language of the default protocol."""
    return [*map(trial_of, script.trials), FineStep.answer("done", script.answer)]


def own_environment(path: Path, scripts: Sequence[Script], **options: Any) -> gym.Env[str, str]:
    """This package's environment as `gym.make` gives it."""
    return gym.make("Text2SQL-v0", tasks=tasks_of(path, scripts), **options)


def trial_of(sql: str) -> str:
    """One trial run in the language of the default protocol."""
    return FineStep.call("look", sql)


def play_own(
    env: gym.Env[str, str], scripts: Sequence[Script], turns: Sequence[Sequence[str]] = ()
) -> None:
    """Reset to each script's task and take its turns; `turns` are those, written before."""
    for number, script in enumerate(scripts):
        env.reset(options={"task_id": str(number)})
        for action in turns[number] if turns else actions_of(script):
            info = env.step(action)[-1]
        _require(info["outcome"] == "match", script.answer)


def own_vector(
    path: Path, scripts: Sequence[Script], count: int, **options: Any
) -> Text2SQLVectorEnv:
    """`count` environments of this package as `gym.make_vec` gives them."""
    envs = gym.make_vec("Text2SQL-v0", num_envs=count, tasks=tasks_of(path, scripts), **options)
    assert isinstance(envs, Text2SQLVectorEnv)
    return envs


def play_vector(envs: Text2SQLVectorEnv, scripts: Sequence[Script]) -> None:
    """Play as many scripts at a time as there are environments, none waiting for another."""
    waiting = list(reversed(list(enumerate(scripts))))
    left: dict[int, list[str]] = {}

    def begin(index: int) -> None:
        if waiting:
            number, script = waiting.pop()
            left[index] = actions_of(script)[::-1]
            envs.submit_reset(index, options={"task_id": str(number)})

    for index in range(envs.num_envs):
        begin(index)
    while envs.pending:
        for answer in envs.collect():
            if answer.ended:
                _require(answer.info["outcome"] == "match", answer.info["task_id"])
                begin(answer.env_id)
            else:
                envs.submit(answer.env_id, left[answer.env_id].pop())


def skyrl_gym_play(root: Path) -> Play:
    """Return what plays scripts on skyrl-gym's `text2sql` over the database below `root`."""
    try:
        import skyrl_gym
        from skyrl_gym.envs.sql.env import Text2SQLEnvConfig
    except ImportError as error:
        raise ImportError("the comparison needs skyrl-gym: pip install -e '.[bench]'") from error
    make = partial(skyrl_gym.make, "text2sql", env_config=Text2SQLEnvConfig(db_path=str(root)))

    def play(scripts: Sequence[Script]) -> None:
        for script in scripts:
            reward = _skyrl_episode(make, script)
            _require(reward == 1.0, script.answer)

    return play


def _skyrl_episode(make: Callable[..., Any], script: Script) -> float:
    env = make(extras=skyrl_task(script))
    env.init([{"role": "user", "content": "What does the script look up?"}])
    for sql in script.trials:
        env.step(f"<think>look</think>\n<sql>{sql}</sql>")
    output = env.step(f"<think>done</think>\n<solution>{script.answer}</solution>")
    env.close()
    return float(output["reward"])


def skyrl_task(script: Script) -> dict[str, Any]:
    """A script as skyrl-gym's record of a task."""
    return {
        "db_id": DATABASE,
        "data": "spider",
        "reward_spec": {"ground_truth": script.gold},
        "max_turns": len(script.trials) + 1,
    }


def database_below(root: Path) -> Path:
    """Where skyrl-gym looks for a database of Spider."""
    return root / "spider" / "database" / DATABASE / f"{DATABASE}.sqlite"


def resident_mb() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _require(right: bool, what: str) -> None:
    if not right:
        raise RuntimeError(f"a script did not earn the full reward: {what}")
