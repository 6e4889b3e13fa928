"""A toy database and tasks whose menus are small enough to check by hand."""

import sqlite3
from contextlib import closing

from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import Task
from text2sql_gym.wrappers import ActionMenu
from text2sql_gym.wrappers.menu import Kind

TOOLS = ("execute_sql", "submit", "propose_schema")

SCRIPT = """
CREATE TABLE shop (id INTEGER PRIMARY KEY, name TEXT, town TEXT);
CREATE TABLE sale (id INTEGER PRIMARY KEY, shop_id INTEGER REFERENCES shop (id), state TEXT);
INSERT INTO shop VALUES (1, 'Alpha', 'Vienna-55'), (2, 'Beta', 'Paris-37'), (3, 'Gamma', 'Oslo-19');
INSERT INTO shop VALUES (4, 'Delta', 'Vienna-55'), (5, 'Echo', 'Paris-37');
INSERT INTO sale VALUES (1, 1, 'DONE'), (2, 1, 'OPEN'), (3, 3, 'DONE');
"""

QUESTIONS = {
    "looked_up": (
        "Show the name of all shops whose town is Vienna.",
        "SELECT name FROM shop WHERE town = 'Vienna-55'",
    ),
    "counted": (
        "How many shops are there in the town Paris?",
        "SELECT COUNT(*) FROM shop WHERE town = 'Paris-37'",
    ),
    "quoted": (
        'Show the name of the shop with town "Oslo-19".',
        "SELECT name FROM shop WHERE town = 'Oslo-19'",
    ),
    "joined": (
        "How many sales are there of shops in Vienna?",
        "SELECT COUNT(*) FROM sale AS s JOIN shop AS p ON s.shop_id = p.id "
        "WHERE p.town = 'Vienna-55'",
    ),
    "no_text": ("How many shops are there?", "SELECT COUNT(*) FROM shop"),
}


def shop_tasks(folder):
    """Write the database into a folder and return the tasks."""
    path = folder / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCRIPT)
    return tuple(
        Task(name, str(path), question, (sql,), difficulty="easy", database_id="shop")
        for name, (question, sql) in QUESTIONS.items()
    )


def shop_menu(tasks, *, max_turns=7, **sizes):
    """An `ActionMenu` over these tasks."""
    protocol = FineStep(style="compact", tools=TOOLS)
    return ActionMenu(Text2SQLEnv(tasks=tasks, protocol=protocol, max_turns=max_turns), **sizes)


def actions_of(env, kind, place=None):
    """The numbers of the actions of a kind that the current menu has; of one candidate."""
    return [
        action
        for action, item in enumerate(env.menu.items)
        if item is not None and item.kind is kind and place in (None, item.place)
    ]


def look_at(env, column):
    """The action that looks at a column."""
    (action,) = [
        action
        for action in actions_of(env, Kind.LOOK)
        if env.menu.items[action].lookup.column == column
    ]
    return action
