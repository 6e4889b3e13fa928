"""`ActionMenu`: the text environment as a decision process with a few masked actions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from text2sql_gym.display import show_cell
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.wrappers.menu import (
    FEATURES,
    Feature,
    FloatArray,
    Item,
    Kind,
    Menu,
    Sizes,
    menu_of,
)

Mask = npt.NDArray[np.bool_]

_FINE = ("ok", "truncated", "")
_FAILED = "<result>\nError: "
_COUNT = re.compile(r"\((\d+) rows?( shown of .*)?\)")
_DRAWS = 1_000  # tasks looked at before giving up on finding one with a menu
_NOTHING = (["0"], ["NULL"], ["0.0"])  # what an aggregate shows of no rows


class ActionMenu(gym.Wrapper[Any, Any, str, str]):  # Wrapper.env has the wrapper's own types
    """Choose from a menu of turns instead of writing them: for classic reinforcement learning.

    ## Description
    Wraps `Text2SQLEnv`. Each task gets a menu made from its gold query, its question and its
    schema, always the same for the same `Sizes`: candidate queries of which exactly one is
    right, and calls that help to find out which. Every action is written as a turn of text and
    taken by the wrapped environment, so statements run on the real database and rewards,
    outcomes and limits are the environment's own.

    It is partially observable: the candidates differ in one comparison of a column with a text
    (`WHERE town = 'Vienna-55'`), and features say nothing about how the text is stored until a
    call has shown it. Where the question quotes the value as stored, no call is needed; else one
    look at the right column decides (the short route), or trial runs, one candidate each (the
    long route); a look at another column, a repeat and a slip cost a turn and show nothing.
    Look-alikes are the gold query with the value respelt, as the question says it, with another
    stored value, or with another column (`text2sql_gym.wrappers.candidates`).

    ## Action Space
    `Discrete(n)`, n = peeks + looks + 2 candidates + proposals + 2, in this order:

    | actions | kind | turn that is written |
    |---|---|---|
    | `peeks` | PEEK | the first 3 rows of a table |
    | `looks` | LOOK | values of a column that contain the question's word |
    | `candidates` | TRIAL | run candidate k |
    | `proposals` | PROPOSE | propose a schema; needs the tool in the protocol |
    | 1 | REPEAT | the last call again |
    | 1 | SLIP | a candidate with a syntax error |
    | `candidates` | SUBMIT | submit candidate k |

    `action_masks()` and `info["action_mask"]` say which can be taken: a task may have fewer
    tables, columns or look-alikes, and there is nothing to repeat at first. An action that cannot
    be taken writes an empty turn, which the environment answers as malformed: it costs a turn.

    ## Observation Space
    `Box(0, 1, (n * FEATURES,), float32)`: for every action the numbers of `menu.Feature`, row
    after row (`observation.reshape(n, FEATURES)`). They are computed from the task's question
    and schema, the candidates' texts, and what observations of this episode have shown; never
    from the gold result.

    ## Rewards
    Those of the wrapped environment.

    ## Starting State
    `reset(seed=...)` draws a task that has a menu; `reset(options={"task_id": ...})` picks one
    and raises ValueError when it has none: its gold query compares no column with a text.
    `reset(options={"state": ...})` goes back to the state of any earlier `info["state"]`; what
    its turns have shown is read again from the conversation.

    ## Episode End
    As in the wrapped environment.

    ## Information
    That of the wrapped environment, and `action_mask` (bool per action), `menu_state` (a key
    of what the episode has shown so far, equal for equal knowledge, whatever the turn), `kind`
    (name of the last action's `Kind`, "" after `reset`), `answer` (the text that the wrapped
    environment returned as its observation).

    ## Arguments
    - `env`: a `Text2SQLEnv`, or wrappers around one, that speaks the protocol `FineStep`.
    - `sizes`: a `Sizes`, or its fields as keywords.

    ## Version History
    - v0: first release.
    """

    def __init__(
        self, env: gym.Env[str, str], sizes: Sizes | None = None, **fields: int
    ) -> None:
        super().__init__(env)
        base = env.unwrapped
        if not isinstance(base, Text2SQLEnv) or not isinstance(base.protocol, FineStep):
            raise ValueError(f"expected a Text2SQLEnv with the protocol finestep, got {env}")
        if sizes is not None and fields:
            raise ValueError(f"expected sizes or its fields, got both: {sizes} and {fields}")
        self.base = base
        self.sizes = sizes or Sizes(**fields)
        if self.sizes.proposals and "propose_schema" not in base.protocol.tools:
            raise ValueError(
                'proposals need protocol_options={"tools": ["execute_sql", "submit", '
                f'"propose_schema"]}}, got {base.protocol.tools}'
            )
        self.kinds = self.sizes.kinds
        self.action_space = gym.spaces.Discrete(len(self.kinds))
        self.observation_space = gym.spaces.Box(0.0, 1.0, (len(self.kinds) * FEATURES,))
        self._tasks = {task.task_id: task for task in base.tasks}
        # what a menu needs is a text in the gold query; whether it does is seen when it is made
        self._fitting = tuple(t.task_id for t in base.tasks if t.gold_sql and "'" in t.gold_sql[0])
        self._draws = np.random.default_rng()
        self._menu: Menu | None = None
        self._features = np.zeros((len(self.kinds), FEATURES), dtype=np.float32)
        self._last: Item | None = None

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The tasks that have a menu, in the environment's order; makes all menus to find out."""
        return tuple(name for name in self._fitting if self._menu_named(name) is not None)

    @property
    def menu(self) -> Menu:
        """The menu of the current episode; which candidate is right is not for a policy's eyes."""
        if self._menu is None:
            raise gym.error.ResetNeeded("no episode yet: call reset() first")
        return self._menu

    def action_masks(self) -> Mask:
        """Which actions can be taken now; the name is that of sb3-contrib."""
        return self._features[:, Feature.AVAILABLE] > 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Begin an episode; see the class for `options`."""
        options = dict(options or {})
        if seed is not None:
            self._draws = np.random.default_rng(seed)
        if not {"task_id", "state"} & set(options):
            options["task_id"] = self._draw()
        text, info = self.env.reset(seed=seed, options=options)
        menu = self._menu_named(info["task_id"])
        if menu is None:
            raise ValueError(
                f"task {info['task_id']!r} has no menu: its gold query compares no column with "
                "a text that could be another; see ActionMenu.task_ids"
            )
        self._menu, self._last = menu, None
        self._features = menu.template.copy()
        turns = self.base.messages[-2 * info["turn"] :] if info["turn"] else ()
        for turn, answer in zip(turns[::2], turns[1::2], strict=True):
            self._learn(turn["content"], answer["content"])
        return self._observe({**info, "kind": "", "answer": text})

    def step(
        self, action: np.int64 | int
    ) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Write the turn of an action and take it; returns what the environment does."""
        if not self.action_space.contains(np.int64(action)):
            raise ValueError(f"expected an action below {len(self.kinds)}, got {action!r}")
        turn = self.turn(int(action))
        text, reward, terminated, truncated, info = self.env.step(turn)
        self._learn(turn, text)
        kind = self.kinds[int(action)].name
        observation, info = self._observe({**info, "kind": kind, "answer": text})
        return observation, float(reward), terminated, truncated, info

    def _menu_named(self, task_id: str) -> Menu | None:
        matcher: Any = self.base.matcher  # frozen, so hashable; its protocol does not say so
        return menu_of(self._tasks[task_id], matcher, self.base.limits, self.sizes)

    def _draw(self) -> str:
        """A random task that has a menu."""
        for _ in range(_DRAWS if self._fitting else 0):
            task_id = self._fitting[int(self._draws.integers(len(self._fitting)))]
            if self._menu_named(task_id) is not None:
                return task_id
        raise ValueError("no task has a menu: no gold query compares a column with a text")

    def turn(self, action: int) -> str:
        """What an action writes now; "" when it cannot be taken."""
        item = self._last if self.kinds[action] is Kind.REPEAT else self.menu.items[action]
        return item.turn if item else ""

    def _observe(self, info: dict[str, Any]) -> tuple[FloatArray, dict[str, Any]]:
        self._features[:, Feature.TURNS] = info["remaining_turns"] / self.base.max_turns
        self._features[:, Feature.ERROR] = info["call_outcome"] not in _FINE
        known = self._features[:, : Feature.TURNS].tobytes()
        state = hashlib.blake2b(known, digest_size=8).hexdigest()
        info |= {"action_mask": self.action_masks(), "menu_state": state}
        return self._features.ravel().copy(), info

    def _learn(self, turn: str, answer: str) -> None:
        """Write down what the answer to a turn has shown: a function of the conversation alone."""
        action = self.menu.by_turn.get(turn)
        if action is None:
            return
        item, again = self.menu.action(action), self._last
        repeat = self.kinds.index(Kind.REPEAT)
        self._mark(Feature.TAKEN, [repeat] if item == again else [action])
        self._mark(Feature.AVAILABLE, [repeat])
        self._last = item
        if answer.startswith(_FAILED):
            self._mark(Feature.FAILED, [action, *self._rows_of([item.place])])
        elif item.kind in (Kind.PEEK, Kind.LOOK):
            self._learn_values(action, item, _read(answer))
        elif item.kind is Kind.TRIAL:
            shown = _read(answer)
            empty = not shown.rows or shown.rows in [[row] for row in _NOTHING]
            self._mark(Feature.EMPTY if empty else Feature.RAN, self._rows_of([item.place]))

    def _learn_values(self, action: int, item: Item, shown: _Shown) -> None:
        """Which candidates' values stand in the result of a look, or cannot be in the column."""
        seen, absent = [], []
        for place, candidate in enumerate(self.menu.candidates):
            lookup = candidate.lookup
            if lookup.table != item.lookup.table or lookup.column not in shown.columns:
                continue
            column = shown.columns.index(lookup.column)
            value = show_cell(lookup.value, self.base.limits)
            if any(row[column] == value for row in shown.rows):
                seen.append(place)
            elif item.kind is Kind.LOOK and shown.whole and item.lookup.value in value.lower():
                absent.append(place)
        self._mark(Feature.SEEN, self._rows_of(seen))
        self._mark(Feature.ABSENT, self._rows_of(absent))
        if item.kind is Kind.LOOK and (seen or shown.whole):
            related = self._proposals_of(item) + [action]
            self._mark(Feature.SEEN if seen else Feature.ABSENT, related)

    def _mark(self, feature: Feature, rows: Sequence[int]) -> None:
        self._features[list(rows), feature] = 1.0

    def _rows_of(self, places: Sequence[int]) -> list[int]:
        """The trial and the submission of each of these candidates."""
        return [row for place in places for row in self.menu.by_place.get(place, ())]

    def _proposals_of(self, look: Item) -> list[int]:
        """The proposals of the schema with the column that was looked at."""
        about = (look.lookup.table, look.lookup.column)
        return [
            action
            for action, item in enumerate(self.menu.items)
            if item is not None and item.kind is Kind.PROPOSE
            and (item.lookup.table, item.lookup.column) == about
        ]


@dataclass(frozen=True)
class _Shown:
    """A result as it was shown: names, rows of cells, and whether these are all rows."""

    columns: list[str]
    rows: list[list[str]]
    whole: bool


def _read(text: str) -> _Shown:
    """Read the table in an observation; rows whose cells cannot be told apart are left out."""
    lines = text.split("\n")[1:-1]  # without the <result> tags
    while lines and not _COUNT.fullmatch(lines[-1]):
        lines.pop()  # the notice of the last turn
    count = _COUNT.fullmatch(lines.pop()) if lines else None
    if count is None or not lines:
        return _Shown([], [], False)
    columns = lines[0].split(" | ")
    rows = [line.split(" | ") for line in lines[1:]]
    fitting = [row for row in rows if len(row) == len(columns)]
    return _Shown(columns, fitting, count[2] is None and len(fitting) == len(rows))
