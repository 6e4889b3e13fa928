"""What happens after which action, remembered: rollouts from the middle of menu episodes.

The environment answers alike each time, so a transition that was taken once need not be taken
again. A node is put back by `info["state"]`. Episodes at a task that have come to the same
features, turns left included, by different ways share a node: what a policy does from there on,
and whether it succeeds, depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.policies.menu import MenuNetwork
from text2sql_gym.types import EpisodeOutcome
from text2sql_gym.wrappers.action_menu import ActionMenu
from text2sql_gym.wrappers.menu import FEATURES

_MOST = 20_000  # nodes kept, about 3 kB each


@dataclass(eq=False)
class Node:
    """A situation in an episode. `success` is None while it goes on, else 0 or 1."""

    state: str
    features_AF: npt.NDArray[np.float32]
    right: int
    success: float | None
    children: dict[int, Node] = field(default_factory=dict)


class MenuTree:
    """The situations of menu episodes by task and actions, found out when they are asked for.

    `turns` counts the turns that the environment has taken for it; those it takes again to be put
    back are not counted.
    """

    def __init__(self, env: ActionMenu) -> None:
        self._env = env
        self._roots: dict[str, Node] = {}
        self._known: dict[tuple[str, bytes, float | None], Node] = {}
        self.turns = 0

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def node(self, task_id: str, actions: Sequence[int] = ()) -> Node:
        """The situation after these actions. Raises ValueError for actions after an end."""
        if len(self._known) > _MOST:
            self._roots, self._known = {}, {}
        if task_id not in self._roots:
            self._roots[task_id] = self._made(*self._env.reset(options={"task_id": task_id}), False)
        node = self._roots[task_id]
        for action in actions:
            node = self.child(node, action)
        return node

    def child(self, node: Node, action: int) -> Node:
        """The situation after one more action."""
        if node.success is not None:
            raise ValueError("the episode has ended: there is no action after it")
        if action not in node.children:
            self._env.reset(options={"state": node.state})
            observation, _, terminated, truncated, info = self._env.step(action)
            self.turns += 1
            node.children[action] = self._made(observation, info, terminated or truncated)
        return node.children[action]

    def _made(
        self, observation: npt.NDArray[np.float32], info: dict[str, Any], ended: bool
    ) -> Node:
        success = float(info["outcome"] == EpisodeOutcome.MATCH) if ended else None
        node = Node(
            info["state"], observation.reshape(-1, FEATURES), self._env.menu.right_action, success
        )
        key = (info["task_id"], node.features_AF.tobytes(), success)
        return self._known.setdefault(key, node)


class MenuContinuations:
    """`Continuations` of a policy over menus; a state is (task id, actions so far).

    `choices` counts the choices that the policy made for it.
    """

    def __init__(self, tree: MenuTree, policy: MenuNetwork) -> None:
        self._tree, self._policy = tree, policy
        self.choices = 0

    def successes(self, states: Sequence[Hashable], attempts: int, seed: int) -> list[int]:
        """Finish `attempts` attempts from each state; return how many of them succeed."""
        draws = np.random.default_rng(seed)
        begun = [self._tree.node(*_read(state)) for state in states]
        running = [(place, node) for place, node in enumerate(begun) for _ in range(attempts)]
        counts = [0] * len(begun)
        while running:
            running = [
                (place, self._tree.child(node, action))
                for (place, node), action in zip(
                    running, self._choose([node for _, node in running], draws), strict=True
                )
            ]
            for place, node in running:
                counts[place] += int(node.success or 0)
            running = [(place, node) for place, node in running if node.success is None]
        return counts

    def _choose(self, nodes: Sequence[Node], draws: np.random.Generator) -> list[int]:
        self.choices += len(nodes)
        choice = self._policy.choose(
            np.stack([node.features_AF for node in nodes]),
            np.array([node.right for node in nodes]),
            draws.random(len(nodes)),
            np.full(len(nodes), -1, dtype=np.int64),
        )
        return [int(action) for action in choice.action_N]


def _read(state: Hashable) -> tuple[str, tuple[int, ...]]:
    match state:
        case (str(task_id), tuple(actions)):
            return task_id, actions
    raise TypeError(f"expected (task id, actions) as a state, got {state!r}")
