"""Signals that are told from a task's gold query: information gain, and scores of schemas.

Shape suffixes: B rows, T tokens; S steps of one attempt.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from agents.batch import Batch
from agents.chat import Chat
from agents.credit.base import FloatArray, Ragged
from agents.likelihood import token_logprobs
from agents.packing import is_plain
from agents.rollout import histories
from agents.types import Group, Step
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols import AgentProtocol
from text2sql_gym.rewards.schema_proposal import proposal_score
from text2sql_gym.types import EXECUTED, Schema, Task, ToolCall

PROPOSALS = frozenset({"schema_reward", "schema_phase"})
"""The signals of episodes in which schemas are proposed, by the names in estimators' `needs`."""

GOLD = frozenset({"information_gain"}) | PROPOSALS
"""The signals that come from here."""

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class _Known:
    """A task, the schema of its database, and the tokens of its gold answer (`answer_tokens`)."""

    task: Task
    schema: Schema
    answer: tuple[Tokens, Tokens]


class GoldSignals:
    """Adds those of the signals in `GOLD` that are among `needs` to groups.

    information_gain  how much likelier the turn made the gold answer under `model`, as it is now
                      and without a gradient: `answer_chances` before the next turn less that before
                      this one; 0 on the last turn
    schema_reward, schema_phase   see `proposal_signals`; a proposal is scored by `proposal_score`
                      under `schema_mode`

    `env` is asked for the tasks, and its protocol writes the answers. The cost of information_gain
    is a forward pass over the conversation so far for every turn; `token_budget` bounds the padded
    tokens of one. Attempts at a task share the one over their prompt.
    """

    def __init__(
        self,
        needs: Iterable[str],
        model: PreTrainedModel,
        chat: Chat,
        env: Text2SQLEnv,
        *,
        schema_mode: str = "total_match",
        token_budget: int = 4_096,
    ) -> None:
        self._needs = GOLD & set(needs)
        self._model, self._chat, self._env = model, chat, env
        self._schema_mode, self._token_budget = schema_mode, token_budget
        self._tasks: dict[str, _Known] = {}

    def __call__(self, groups: Sequence[Group]) -> list[Group]:
        """Return the groups with the signals on their steps."""
        return [group.with_signals(self._of(group)) for group in groups]

    def _of(self, group: Group) -> Mapping[str, Ragged]:
        known, found = self._known(group.task_id), {}
        if "information_gain" in self._needs:
            found["information_gain"] = self._gains(group, known.answer)
        if self._needs & PROPOSALS:

            def score(step: Step) -> float:
                proposal = step.arguments["schema"]
                return proposal_score(proposal, known.task, known.schema, self._schema_mode)

            both = [proposal_signals(attempt.steps, score) for attempt in group.attempts]
            found["schema_reward"], found["schema_phase"] = map(tuple, zip(*both, strict=True))
        return found

    def _gains(self, group: Group, answer: tuple[Tokens, Tokens]) -> Ragged:
        before = [histories(attempt) for attempt in group.attempts]
        distinct = list(dict.fromkeys(history for row in before for history in row))
        chances = answer_chances(self._model, distinct, answer, self._token_budget)
        chance = dict(zip(distinct, chances, strict=True))
        return tuple(np.append(np.diff([chance[ids] for ids in row]), 0.0) for row in before)

    def _known(self, task_id: str) -> _Known:
        if task_id not in self._tasks:
            self._env.reset(options={"task_id": task_id})
            task = self._env.task
            if not task.gold_sql:
                raise ValueError(f"{task_id}: expected a gold query to tell signals from")
            answer = answer_tokens(self._env.protocol, self._chat, task.gold_sql[0])
            self._tasks[task_id] = _Known(task, self._env.schema, answer)
        return self._tasks[task_id]


def answer_tokens(protocol: AgentProtocol, chat: Chat, sql: str) -> tuple[Tokens, Tokens]:
    """Tokens of a turn without a thought that submits a query: those up to the query, the query's.

    What closes the turn is left out. Both are told apart by what the protocol writes of no query.
    """
    (tool,) = (name for name in protocol.tools if name.startswith("submit"))
    turn, empty = (protocol.write(ToolCall(tool, {"sql": text})) for text in (sql, ""))
    lead = os.path.commonprefix([turn, empty])
    query = turn[len(lead) :].removesuffix(empty[len(lead) :])
    encode = chat.tokenizer.encode
    return tuple(
        tuple(encode(text, add_special_tokens=False)) for text in (lead, query)
    )  # type: ignore[return-value]


@torch.no_grad()
def answer_chances(
    model: PreTrainedModel,
    histories: Sequence[Tokens],
    answer: tuple[Tokens, Tokens],
    token_budget: int = 4_096,
) -> FloatArray:
    """The geometric mean of the probabilities of an answer's tokens after each history.

    The tokens that lead to the answer are given, so whether the policy would answer now does not
    count.
    """
    lead, query = answer
    rows = [(*history, *lead, *query) for history in histories]
    width = max(map(len, rows))
    ids_BT = torch.zeros(len(rows), width, dtype=torch.long)
    mask_BT = torch.zeros(len(rows), width)
    for row, ids in enumerate(rows):
        ids_BT[row, : len(ids)] = torch.tensor(ids)
        mask_BT[row, len(ids) - len(query) : len(ids)] = 1.0
    batch = Batch(ids_BT, mask_BT, mask_BT, mask_BT.long() - 1, torch.arange(len(rows)))
    chances = np.zeros(len(rows))
    for index in batch.micro_batches(token_budget, packed=is_plain(model)):
        part = batch.rows(index)
        logprobs_BT, _ = token_logprobs(model, part.token_ids_BT, part.mask_BT)
        mean_B = logprobs_BT.double().sum(dim=1) / len(query)
        chances[index] = mean_B.exp().cpu().numpy()
    return chances


def proposal_signals(
    steps: Sequence[Step], score: Callable[[Step], float]
) -> tuple[FloatArray, FloatArray]:
    """Return "schema_reward" and "schema_phase" of one attempt's steps.

    The last proposal that the tool took has its score on its step; the phase is 1 up to and with
    it. Both are 0 everywhere in an attempt that proposes nothing.
    """
    reward_S, phase_S = np.zeros(len(steps)), np.zeros(len(steps))
    proposed = [
        place
        for place, step in enumerate(steps)
        if step.tool == "propose_schema" and step.call_outcome in EXECUTED
    ]
    if proposed:
        last = proposed[-1]
        reward_S[last], phase_S[: last + 1] = score(steps[last]), 1.0
    return reward_S, phase_S
