"""What is still there after an environment was closed: nothing."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from sqlite_files import write

LINUX = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


def run_script(script, *arguments, **environment):
    """Run Python of its own, so that no other test's files and processes are counted."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=True,
        env=os.environ | {name: str(value) for name, value in environment.items()},
    )
    return json.loads(done.stdout)


EPISODES = """
    import functools, json, os, sys, threading
    import gymnasium as gym
    import text2sql_gym
    from text2sql_gym.protocols.finestep import FineStep

    path, temporary = sys.argv[1:3]
    ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    GOLD = "SELECT customer_id, count(*) FROM sale GROUP BY customer_id ORDER BY 2 DESC"

    def state():
        children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
        files = [name for _, folders, files in os.walk(temporary) for name in folders + files]
        return [len(os.listdir("/proc/self/fd")), threading.active_count(), len(children), files]

    def play(envs, make):
        task = {"task_id": "t", "database": path, "question": "?", "gold_sql": GOLD}
        env = make(tasks=[task], limits={"seconds": 30.0, "vm_steps": 3_000_000})
        yield state()
        actions = [FineStep.call("", ENDLESS), FineStep.call("", "SELECT trim(Name) FROM Customer"),
                   FineStep.answer("", GOLD)]
        env.reset()
        for action in actions:
            *_, info = env.step([action] * envs if envs else action)
        yield state(), str(info["outcome"][0] if envs else info["outcome"])
        env.close()
        del env

    before = state()
    report = []
    for _ in range(2):
        for envs in (0, 3):
            make = gym.make if not envs else gym.make_vec
            options = {"num_envs": envs} if envs else {}
            made = functools.partial(make, "Text2SQL-v0", **options)
            _, (during, outcome) = play(envs, made)
            report.append([outcome, during != before, state() == before])
    print(json.dumps(report))
"""


@LINUX
def test_files_threads_processes_and_copies_are_gone_after_close(tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    report = run_script(EPISODES, write(tmp_path / "shop.sqlite"), temporary, TMPDIR=temporary)
    assert report == [["match", True, True]] * 4


SHOWN = """
    import json, sys
    import gymnasium as gym
    import text2sql_gym
    from text2sql_gym.protocols.finestep import FineStep

    task = {"task_id": "t", "database": sys.argv[1], "question": "?", "gold_sql": "SELECT 1"}
    env = gym.make("Text2SQL-v0", tasks=[task])
    seen = list(env.reset())
    for sql in ("SELECT * FROM sale", "SELECT Name FROM Customer ORDER BY Name DESC", "SELECT x"):
        seen += env.step(FineStep.call("", sql))
    seen += env.step(FineStep.answer("", "SELECT 1"))
    env.close()
    print(json.dumps(seen))
"""


def test_an_episode_does_not_depend_on_the_hash_seed_of_the_process(tmp_path):
    path = write(tmp_path / "shop.sqlite")
    first, other = (run_script(SHOWN, path, PYTHONHASHSEED=seed) for seed in (0, 1))
    assert first == other


UNFINISHED = """
    import json, sys
    import gymnasium as gym
    import text2sql_gym
    from text2sql_gym.backends.worker_pool import worker_pool
    from text2sql_gym.protocols.finestep import FineStep

    task = {"task_id": "t", "database": sys.argv[1], "question": "?"}
    limits = {"seconds": 1.0, "memory_mb": 265}
    envs = gym.make_vec("Text2SQL-v0", num_envs=3, tasks=[task], limits=limits).unwrapped
    envs.reset()
    bomb = "SELECT trim(hex(zeroblob(490000)), replace(hex(zeroblob(40000)), '0', 'a') || '0')"
    for index in range(3):  # one of them has to wait for a worker
        envs.submit(index, FineStep.call("", bomb))
    while not (pids := worker_pool("sqlite", 265).pids(busy=True)):
        pass
    print(json.dumps(pids))
"""


@LINUX
def test_a_process_ends_with_statements_under_way_that_nothing_can_interrupt(tmp_path):
    pids = run_script(UNFINISHED, write(tmp_path / "shop.sqlite"), TEXT2SQL_WORKERS=2)
    assert pids and not any(os.path.exists(f"/proc/{pid}") for pid in pids)
