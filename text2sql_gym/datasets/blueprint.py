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
_CODABLE = ("words", "title")
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
    entities = [Entity.parse(line) for line in lines]
    while True:
        tables = _draw(_connected(entities, random), random)
        if any(column.kind in _CODABLE for table in tables for column in table.columns):
            return _with_coded(tables, random)


def _draw(entities: list[Entity], random: Random) -> list[TablePlan]:
    nouns = {entity.nouns[0]: random.choice(entity.nouns) for entity in entities}
    use_plural = random.random() < 0.75
    id_style = random.choice(_ID_STYLES)
    names = _column_names(random)
    common = random.sample(COMMON_ATTRIBUTES, 2)
    tables: dict[str, TablePlan] = {}
    for entity in entities:
        noun = nouns[entity.nouns[0]]
        name = _modified(plural(noun) if use_plural or is_keyword(noun) else noun, random)
        keys = [ColumnPlan(id_style.format(noun=noun), "id")]
        keys += _links(entity, tables, nouns, id_style)
        columns = (*keys, *_attributes(entity, _MAX_COLUMNS - len(keys), common, names, random))
        tables[entity.nouns[0]] = TablePlan(name, columns, _rows(entity, entities, random))
    return list(tables.values())


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


def _column_names(random: Random) -> dict[str, str]:
    """Choose one name for each attribute: what two tables both have, they call alike."""
    known = {"person": PERSON_COLUMNS, "title": TITLE_COLUMNS}
    known |= {key: WORDS[key][0] for key in WORDS} | {key: NUMBERS[key][0] for key in NUMBERS}
    return {key: random.choice(names.split("/")) for key, names in known.items()}


def _attributes(
    entity: Entity, room: int, common: list[str], names: dict[str, str], random: Random
) -> list[ColumnPlan]:
    """Draw the name, if the entity has one, and two or three attributes.

    One of them may be one of `common`, which the tables of a database share.
    """
    named = [key for key in entity.attributes if key in ("person", "title")]
    others = [key for key in entity.attributes if key not in named]
    random.shuffle(others)
    if random.random() < 0.5:
        others[:1] = [key for key in random.sample(common, 1) if key not in others] or others[:1]
    kept = others[: min(room - len(named), random.choice((2, 3, 3)))]
    columns: dict[str, ColumnPlan] = {}
    for column in (_column(key, names[key], random) for key in [*named, *kept]):
        columns.setdefault(column.name, column)
    return list(columns.values())


def _column(key: str, name: str, random: Random) -> ColumnPlan:
    if key in ("person", "title"):
        return ColumnPlan(name, key, coded=key == "title" and random.random() < 0.1)
    if key in WORDS:
        return ColumnPlan(name, "words", key, coded=random.random() < 0.4)
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
        if column.kind in _CODABLE
    ]
    t, c = random.choice(places)
    columns = list(tables[t].columns)
    columns[c] = ColumnPlan(columns[c].name, columns[c].kind, columns[c].attribute, coded=True)
    tables[t] = TablePlan(tables[t].name, tuple(columns), tables[t].rows)
    return tuple(tables)
