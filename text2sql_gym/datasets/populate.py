"""Fill a synthetic database with plausible rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from random import Random

from text2sql_gym.datasets.attributes import (
    FIRST_NAMES,
    LAST_NAMES,
    NUMBERS,
    TITLE_FIRST,
    TITLE_SECOND,
    WORDS,
)
from text2sql_gym.datasets.blueprint import ColumnPlan, TablePlan
from text2sql_gym.datasets.questions.profile import Spoken
from text2sql_gym.datasets.wording import identifier
from text2sql_gym.types import Row

CODES: Mapping[str, Callable[[str, str, int], str]] = {
    "number_first": lambda said, letter, number: f"{number} {said}",
    "code_first": lambda said, letter, number: f"{letter}{number}-{said}",
    "short_first": lambda said, letter, number: f"{said[:3].strip().upper()}-{number} {said}",
    "code_last": lambda said, letter, number: f"{said} ({letter}{number})",
    "hyphens": lambda said, letter, number: f"{said.replace(' ', '-')}-{number}",
    "upper": lambda said, letter, number: f"{said.upper().replace(' ', '_')}_{letter}",
    "cut": lambda said, letter, number: _cut(said) + str(number),
    "joined": lambda said, letter, number: f"{said}{number}",
}
"""How a spoken value may be stored. Each carries a drawn letter or number, so that the spelling
cannot be guessed from the question; ``cut`` keeps four letters of each word."""

_CODE_WEIGHTS = (1, 1, 1, 2, 2, 1, 1, 7)

_ONE_MARK = 0.7
"""The share of coded columns whose values all carry the same letter and number."""


def _cut(said: str) -> str:
    return "_".join(word[:4].upper() for word in said.split())


def populate(connection: sqlite3.Connection, tables: Sequence[TablePlan], random: Random) -> Spoken:
    """Create and fill the tables, parents first; return how coded values are spoken."""
    spoken: dict[tuple[str, str], Mapping[str, str]] = {}
    rows = {table.name: table.rows for table in tables}
    for table in tables:
        connection.execute(_create(table))
        columns = []
        for column in table.columns:
            values, said = _values(column, table.rows, rows, random)
            columns.append(values)
            if said:
                spoken[table.name, column.name] = said
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {identifier(table.name)} VALUES ({marks})"
        connection.executemany(statement, zip(*columns, strict=True))
    connection.commit()
    return spoken


def _create(table: TablePlan) -> str:
    parts = [_declare(column) for column in table.columns]
    parts += [
        f"FOREIGN KEY ({identifier(column.name)}) REFERENCES "
        f"{identifier(column.attribute)} ({identifier(column.target)})"
        for column in table.columns
        if column.kind == "link"
    ]
    return f"CREATE TABLE {identifier(table.name)} ({', '.join(parts)})"


def _declare(column: ColumnPlan) -> str:
    type_name = "INTEGER" if column.kind in ("id", "link", "number") else "TEXT"
    key = " PRIMARY KEY" if column.kind == "id" else ""
    return f"{identifier(column.name)} {type_name}{key}"


def _values(
    column: ColumnPlan, count: int, rows: Mapping[str, int], random: Random
) -> tuple[Row, Mapping[str, str]]:
    """Return a column's values and, for a coded column, how they are spoken."""
    if column.kind == "id":
        return tuple(range(1, count + 1)), {}
    if column.kind == "link":
        return _links(count, rows[column.attribute], random), {}
    if column.kind == "number":
        return _numbers(column.attribute, count, random), {}
    if column.kind == "words":
        said = _categories(column.attribute, count, random)
    else:
        said = _names(column.kind, count, random)
    if not column.coded:
        return said, {}
    stored = _encode(dict.fromkeys(said), random)
    return tuple(stored[value] for value in said), {code: value for value, code in stored.items()}


def _links(count: int, parents: int, random: Random) -> Row:
    """Refer to every parent in half of the draws, else to about four in five; skewed."""
    targets = list(range(1, parents + 1))
    random.shuffle(targets)
    if random.random() < 0.5:
        targets = targets[: max(2, parents * 4 // 5)]
    values = [*targets, *_skewed(targets, max(0, count - len(targets)), random)][:count]
    random.shuffle(values)
    return tuple(values)


def _skewed(values: Sequence[int], count: int, random: Random) -> list[int]:
    weights = [1 / (place + 1) for place in range(len(values))]
    return random.choices(values, weights, k=count)


def _numbers(attribute: str, count: int, random: Random) -> Row:
    """Draw without repetition where the range allows, so that few orders are tied."""
    _, low, high = NUMBERS[attribute]
    if high - low + 1 >= 2 * count:
        return tuple(random.sample(range(low, high + 1), count))
    return tuple(random.randint(low, high) for _ in range(count))


def _categories(attribute: str, count: int, random: Random) -> tuple[str, ...]:
    values = [value.strip() for value in WORDS[attribute][1].split(",")]
    kept = random.sample(values, min(len(values), random.randint(3, 6), max(3, count // 3)))
    places = [*range(len(kept)), *_skewed(range(len(kept)), max(0, count - len(kept)), random)]
    random.shuffle(places)
    return tuple(kept[place] for place in places[:count])


def _names(kind: str, count: int, random: Random) -> tuple[str, ...]:
    first, second = (FIRST_NAMES, LAST_NAMES) if kind == "person" else (TITLE_FIRST, TITLE_SECOND)
    pairs = random.sample(range(len(first) * len(second)), count)
    return tuple(f"{first[pair // len(second)]} {second[pair % len(second)]}" for pair in pairs)


def _encode(said: Mapping[str, None], random: Random) -> dict[str, str]:
    """Give each spoken value its stored spelling, all in one style, no two alike.

    Their letters and numbers are drawn for the column, or for each value.
    """
    style = CODES[random.choices(tuple(CODES), _CODE_WEIGHTS)[0]]
    numbers = random.sample(range(1, 100), len(said))
    letters = random.choices("ABCDEFGHKLMNPRST", k=len(said))
    if random.random() < _ONE_MARK:
        numbers, letters = numbers[:1] * len(said), letters[:1] * len(said)
    return {
        value: style(value, letter, number)
        for value, letter, number in zip(said, letters, numbers, strict=True)
    }
