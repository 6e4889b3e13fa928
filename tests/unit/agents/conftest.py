"""A toy database, tasks over it, a tokenizer trained on them and a small model."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
import torch

from agents.chat import Chat
from agents.demonstrations import demonstrate, texts
from agents.policies.scripted import Analyst
from agents.tiny import tiny_qwen3, train_tokenizer
from agents.warmstart import Imitation, WarmStart
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import Task

torch.set_num_threads(1)

SHOP = """
CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT, country TEXT);
INSERT INTO city VALUES (1, 'Oslo', 'NO'), (2, 'Bergen', 'NO'), (3, 'Rome', 'IT');
CREATE TABLE sale (id INTEGER PRIMARY KEY, city_id INTEGER REFERENCES city (id), state TEXT);
INSERT INTO sale VALUES (1, 1, 'DONE'), (2, 1, 'OPEN'), (3, 3, 'DONE');
"""

QUESTIONS = (
    ("How many cities are there?", "SELECT COUNT(*) FROM city"),
    ("List the names of all cities.", "SELECT name FROM city"),
    ("Which cities are in Norway?", "SELECT name FROM city WHERE country = 'NO'"),
    ('What is the country of "Rome"?', "SELECT country FROM city WHERE name = 'Rome'"),
    (
        "How many finished sales are there in Italy?",
        "SELECT COUNT(*) FROM sale AS s JOIN city AS c ON s.city_id = c.id "
        "WHERE c.country = 'IT' AND s.state = 'DONE'",
    ),
)


@pytest.fixture(scope="session")
def tasks(tmp_path_factory):
    """Five tasks; the third and the fifth need a look at the stored values."""
    path = tmp_path_factory.mktemp("toy") / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SHOP)
    return tuple(
        Task(f"shop/{place}", str(path), question, (sql,), difficulty="easy", database_id="shop")
        for place, (question, sql) in enumerate(QUESTIONS)
    )


@pytest.fixture(scope="session")
def make_env(tasks):
    """Build environments with short prompts over the toy tasks."""

    def make(**options):
        return Text2SQLEnv(tasks=tasks, protocol=FineStep(style="compact"), **options)

    return make


@pytest.fixture(scope="session")
def chat(make_env, tasks):
    ids = [task.task_id for task in tasks]
    with make_env() as env:
        corpus = texts(env, Analyst(), 4 * ids, seed=0)
    return Chat(train_tokenizer(corpus, 330, FineStep.scaffold))


@pytest.fixture
def model(chat):
    """Random weights with spread-out logits, so that no two tokens are equally likely."""
    made = tiny_qwen3(chat.tokenizer, hidden=32, layers=2, heads=2, context=256, seed=0).eval()
    with torch.no_grad():
        made.get_input_embeddings().weight.mul_(8.0)
    return made


@pytest.fixture(scope="session")
def demonstrations(make_env, chat, tasks):
    with make_env() as env:
        ids = [task.task_id for task in tasks]
        return demonstrate(env, chat, Analyst(), 8 * ids, seed=0)


@pytest.fixture(scope="session")
def imitator(chat, demonstrations):
    """A model that has seen enough demonstrations to hold an episode of several turns."""
    made = tiny_qwen3(chat.tokenizer, hidden=48, layers=2, heads=2, context=512, seed=0)
    imitation = Imitation(steps=60, batch_size=8, learning_rate=1e-2, warmup=5)
    WarmStart(made, imitation, seed=0).run(demonstrations, 0, lambda step, loss: None)
    return made
