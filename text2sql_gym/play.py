"""Be the policy: answer questions over a database at a terminal.

    python -m text2sql_gym.play --dataset spider --data-dir data/spider --split dev
    python -m text2sql_gym.play --protocol trust_sql
    python -m text2sql_gym.play --raw < turns.txt

Turns are SQL and calls of tools, written in the protocol's syntax for you, or with ``--raw`` the
text that the protocol expects.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing

from text2sql_gym.datasets import DATASETS
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.errors import Text2SQLError
from text2sql_gym.protocols import PROTOCOLS, AgentProtocol
from text2sql_gym.tools import tool_schema
from text2sql_gym.types import ToolCall

_SQL = "Type SQL that ends in ';' to run it, 'submit' and SQL to answer, 'quit' to leave."
_TOOLS = "Other tools, with their arguments: {}"
_RAW = "Type a turn and then a line with a single dot, or 'quit' to leave."


def main(argv: Sequence[str] | None = None) -> int:
    """Play episodes until they, or the input, end; return 2 when the tasks cannot be had."""
    given = _parse(argv)
    options = {"task_id": given.task_id} if given.task_id else None
    lines = iter(sys.stdin)
    try:
        with closing(_environment(given)) as env:
            for episode in range(given.episodes):
                prompt, _ = env.reset(seed=None if episode else given.seed, options=options)
                print(f"{prompt}\n\n{_RAW if given.raw else _help(env.protocol)}\n")
                if not play(env, lines, raw=given.raw):
                    break
    except Text2SQLError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def play(env: Text2SQLEnv, lines: Iterator[str], *, raw: bool) -> bool:
    """Play the episode that has begun; False when the input ended before it did."""
    total, ended = 0.0, False
    while not ended:
        print(">>>", flush=True)
        action = read_raw(lines) if raw else read_sql(lines, env.protocol)
        if action is None:
            return False
        observation, reward, terminated, truncated, info = env.step(action)
        total, ended = total + float(reward), terminated or truncated
        print(f"{observation}\n[{info['call_outcome']}, reward {reward:+.3f}]\n")
    print(f"{info['outcome']}, total reward {total:+.3f}")
    for gold in env.task.gold_sql:
        print(f"gold: {gold}")
    print()
    return True


def read_sql(lines: Iterator[str], protocol: AgentProtocol) -> str | None:
    """Read SQL or a call up to a line that ends in ``;``; return it as a turn of the protocol.

    None at the end or at ``quit``. A tool that the protocol does not offer is told, and read over.
    """
    read: list[str] = []
    for line in lines:
        read.append(line)
        if not "".join(read).strip():
            read.clear()
        elif line.strip() == "quit":
            return None
        elif line.rstrip().endswith(";"):
            call = _call("".join(read).strip(), protocol)
            if call.tool in protocol.tools:
                return protocol.write(call)
            print(f"no tool {call.tool!r} here; {_help(protocol)}")
            read.clear()
    return None


def _call(text: str, protocol: AgentProtocol) -> ToolCall:
    """``submit SQL;``, ``:tool argument | argument;`` or SQL to be run."""
    word, *more = text.split(maxsplit=1)
    rest = more[0] if more else ""
    if word.startswith(":"):
        tool = word.strip(":;")
        if tool not in protocol.tools:
            return ToolCall(tool)
        names = _arguments(tool)
        values = rest.rstrip("; ").split("|", max(0, len(names) - 1)) if rest else []
        return ToolCall(tool, dict(zip(names, map(str.strip, values), strict=False)))
    trial, final = _sql_tools(protocol)
    if word.rstrip(";") == "submit":
        return ToolCall(final, {"sql": rest})
    return ToolCall(trial, {"sql": text})


def _sql_tools(protocol: AgentProtocol) -> tuple[str, str]:
    """The tool that runs a query, and the one that submits it."""
    pairs = (("execute_sql", "submit"), ("run_ctes", "submit_ctes"))
    return next(pair for pair in pairs if set(pair) <= set(protocol.tools))


def _arguments(tool: str) -> list[str]:
    return list(tool_schema(tool)["function"]["parameters"]["properties"])


def _help(protocol: AgentProtocol) -> str:
    others = [tool for tool in protocol.tools if tool not in _sql_tools(protocol)]
    calls = (f":{tool} {' | '.join(_arguments(tool))}".strip() + ";" for tool in others)
    return f"{_SQL}\n{_TOOLS.format(', '.join(calls))}" if others else _SQL


def read_raw(lines: Iterator[str]) -> str | None:
    """Read a turn up to a line with a single dot; None at the end or at ``quit``."""
    read: list[str] = []
    for line in lines:
        if line.strip() == ".":
            return "".join(read)
        if line.strip() == "quit":
            return None
        read.append(line)
    return None


def _environment(given: argparse.Namespace) -> Text2SQLEnv:
    return Text2SQLEnv(
        dataset=given.dataset,
        data_dir=given.data_dir,
        split=given.split,
        protocol=given.protocol,
        protocol_options={"schema": given.schema} if given.schema else None,
        max_turns=given.max_turns,
    )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m text2sql_gym.play",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", default="synthetic", help=f"one of {', '.join(DATASETS)}")
    parser.add_argument("--data-dir", help="the folder with the dataset's files")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--task-id", help="a task to play; drawn by the seed otherwise")
    parser.add_argument("--seed", type=int, help="seed of the draws of tasks")
    parser.add_argument("--episodes", type=int, default=1, help="episodes to play")
    parser.add_argument("--max-turns", type=int, default=7, help="turns of an episode")
    parser.add_argument("--protocol", default="finestep", help=f"one of {', '.join(PROTOCOLS)}")
    parser.add_argument("--schema", choices=("full", "unknown"), help="show the schema or not")
    parser.add_argument("--raw", action="store_true", help="write turns in the protocol's syntax")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
