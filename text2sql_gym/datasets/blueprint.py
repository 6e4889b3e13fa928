"""Draw the schema of one synthetic database: which tables, linked how, with which columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from text2sql_gym.datasets.attributes import (
    COMMON_ATTRIBUTES,
    NUMBERS,
    PERSON_COLUMNS,
    TITLE_COLUMNS,
    WORDS,
)
from text2sql_gym.datasets.domains import MODIFIERS, NUMBER_PREFIXES, PREFIXED
from text2sql_gym.datasets.wording import is_keyword, plural

_MAX_COLUMNS = 6
_ID_STYLES = ("id", "id", "id", "{noun}_id", "{noun}_id", "{noun}_no")


@dataclass(frozen=True)
class Entity:
    """One line of a domain: alternative nouns, attribute keys, first nouns of its parents."""

    nouns: tuple[str, ...]
    attributes: tuple[str, ...]
    parents: tuple[str, ...]

    @classmethod
    def parse(cls, line: str) -> Entity:
        """Read ``"visit/checkup: fee year -> doctor patient"``."""
        head, _, parents = line.partition("->")
        nouns, _, keys = head.partition(":")
        return cls(tuple(nouns.strip().split("/")), tuple(keys.split()), tuple(parents.split()))


@dataclass(frozen=True)
class ColumnPlan:
    """A column to fill. `kind` is id, link, person, title, number or words.

    `attribute` names the entry of `NUMBERS` or `WORDS`; for a link it is the parent's table and
    `target` the parent's key. `coded` columns store their values spelt otherwise than spoken.
    """

    name: str
    kind: str
    attribute: str = ""
    target: str = ""
    coded: bool = False


@dataclass(frozen=True)
class TablePlan:
    """A table to fill; `rows` grows from the tables referred to towards those that refer."""

    name: str
    columns: tuple[ColumnPlan, ...]
    rows: int


def draw_blueprint(lines: Sequence[str], random: Random) -> tuple[TablePlan, ...]:
    """Draw two to four linked tables of a domain, parents first, with at least one coded column."""
    entities = _connected([Entity.parse(line) for line in lines], random)
    nouns = {entity.nouns[0]: random.choice(entity.nouns) for entity in entities}
    use_plural = random.random() < 0.75
    id_style = random.choice(_ID_STYLES)
    tables: dict[str, TablePlan] = {}
    for entity in entities:
        noun = nouns[entity.nouns[0]]
        name = _modified(plural(noun) if use_plural or is_keyword(noun) else noun, random)
        keys = [ColumnPlan(id_style.format(noun=noun), "id")]
        keys += _links(entity, tables, nouns, id_style)
        columns = (*keys, *_attributes(entity, _MAX_COLUMNS - len(keys), random))
        tables[entity.nouns[0]] = TablePlan(name, columns, _rows(entity, entities, random))
    return _with_coded(list(tables.values()), random)


def _connected(entities: list[Entity], random: Random) -> list[Entity]:
    """Grow a connected part of the domain from one link, and keep the domain's order."""
    size = random.choices((2, 3, 4), (2, 4, 3))[0]
    chosen = {random.choice([entity for entity in entities if entity.parents]).nouns[0]}
    while len(chosen) < size:
        edge = [entity.nouns[0] for entity in entities if _touches(entity, chosen, entities)]
        if not edge:
            break
        chosen.add(random.choice(edge))
    return [entity for entity in entities if entity.nouns[0] in chosen]


def _touches(entity: Entity, chosen: set[str], entities: list[Entity]) -> bool:
    if entity.nouns[0] in chosen:
        return False
    children = [child for child in entities if entity.nouns[0] in child.parents]
    return not chosen.isdisjoint([*entity.parents, *(child.nouns[0] for child in children)])


def _modified(noun: str, random: Random) -> str:
    return f"{random.choice(MODIFIERS)}_{noun}" if random.random() < 0.2 else noun


def _links(
    entity: Entity, tables: dict[str, TablePlan], nouns: dict[str, str], id_style: str
) -> list[ColumnPlan]:
    suffix = "no" if id_style.endswith("no") else "id"
    return [
        ColumnPlan(
            f"{nouns[parent]}_{suffix}",
            "link",
            attribute=tables[parent].name,
            target=tables[parent].columns[0].name,
        )
        for parent in entity.parents
        if parent in tables
    ]


def _attributes(entity: Entity, room: int, random: Random) -> list[ColumnPlan]:
    """Draw the name, if the entity has one, and two or three attributes; one may be foreign."""
    named = [key for key in entity.attributes if key in ("person", "title")]
    others = [key for key in entity.attributes if key not in named]
    random.shuffle(others)
    if random.random() < 0.4:
        others[0] = random.choice([key for key in COMMON_ATTRIBUTES if key not in others])
    kept = others[: min(room - len(named), random.choice((2, 3, 3)))]
    columns: dict[str, ColumnPlan] = {}
    for column in (_column(key, random) for key in [*named, *kept]):
        columns.setdefault(column.name, column)
    return list(columns.values())


def _column(key: str, random: Random) -> ColumnPlan:
    if key in ("person", "title"):
        names = PERSON_COLUMNS if key == "person" else TITLE_COLUMNS
        coded = key == "title" and random.random() < 0.1
        return ColumnPlan(random.choice(names.split("/")), key, coded=coded)
    if key in WORDS:
        name = random.choice(WORDS[key][0].split("/"))
        return ColumnPlan(name, "words", key, coded=random.random() < 0.4)
    name = random.choice(NUMBERS[key][0].split("/"))
    if random.random() < 0.2 and key in PREFIXED:
        name = f"{random.choice(NUMBER_PREFIXES)}_{name}"
    return ColumnPlan(name, "number", key)


def _rows(entity: Entity, entities: list[Entity], random: Random) -> int:
    has_parent = any(parent.nouns[0] in entity.parents for parent in entities)
    has_child = any(entity.nouns[0] in child.parents for child in entities)
    if has_parent and not has_child:
        return random.randint(24, 44)
    return random.randint(12, 20) if has_parent else random.randint(7, 12)


def _with_coded(tables: list[TablePlan], random: Random) -> tuple[TablePlan, ...]:
    """Make one column coded where the draw made none, so that every database asks for a look."""
    if any(column.coded for table in tables for column in table.columns):
        return tuple(tables)
    places = [
        (t, c)
        for t, table in enumerate(tables)
        for c, column in enumerate(table.columns)
        if column.kind in ("words", "title")
    ]
    t, c = random.choice(places)
    columns = list(tables[t].columns)
    columns[c] = ColumnPlan(columns[c].name, columns[c].kind, columns[c].attribute, coded=True)
    tables[t] = TablePlan(tables[t].name, tuple(columns), tables[t].rows)
    return tuple(tables)
