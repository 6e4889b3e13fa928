"""Attempts written by hand."""

from agents.types import Completion, Ended, Group, Step, Trajectory


def step(context, sampled, *, logprobs=None, outcome=0.0, process=0.0, **more):
    """One turn: token ids of its context and of what was sampled."""
    completion = Completion(
        tuple(sampled), tuple([-1.0] * len(sampled) if logprobs is None else logprobs), ""
    )
    fields = {"call_outcome": "ok", "tool": "execute_sql", **more}
    return Step(tuple(context), completion, "", outcome, process, {}, **fields)


def attempt(*steps, task_id="task", ended=Ended.SUBMITTED, outcome="mismatch"):
    return Trajectory(task_id, "easy", tuple(steps), ended, outcome)


def group(*attempts, task_id="task"):
    return Group(task_id, tuple(attempts))
