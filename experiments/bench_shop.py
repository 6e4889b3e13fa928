"""The database and the scripted episodes of `experiments.bench_env`.

A shop of five tables, 100,000 rows and four indices. Statements come in thirty light and twenty
medium forms, about 0.1 ms and 13 ms each on the mean, filled with constants that never repeat.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

DATABASE = "shop"

_SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, city TEXT, segment TEXT, born INTEGER);
CREATE TABLE product (id INTEGER PRIMARY KEY, title TEXT, category TEXT, price REAL, stock INTEGER);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer (id),
  day TEXT, status TEXT, paid INTEGER);
CREATE TABLE item (id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders (id),
  product_id INTEGER REFERENCES product (id), quantity INTEGER, amount REAL);
CREATE TABLE review (id INTEGER PRIMARY KEY, product_id INTEGER REFERENCES product (id),
  stars INTEGER, body TEXT);
CREATE INDEX orders_customer ON orders (customer_id);
CREATE INDEX item_order ON item (order_id);
CREATE INDEX item_product ON item (product_id);
CREATE INDEX review_product ON review (product_id);
"""
_CITIES = [f"{first}{last}" for first in ("Oak", "Elm", "Ash", "Bay") for last in
           ("ton", "ford", "burg", "mouth", "dale")]
_SEGMENTS = ("home", "office", "school", "club")
_CATEGORIES = ("tools", "paper", "lamps", "chairs", "cables", "boxes", "paint", "plants")
_STATES = ("new", "sent", "done", "back")
_COUNTS = {"customer": 5_000, "product": 1_000, "orders": 30_000, "item": 60_000, "review": 4_000}

_LIGHT = (
    "SELECT name, city, segment FROM customer WHERE id = {c}",
    "SELECT title, price FROM product WHERE id = {p}",
    "SELECT day, status FROM orders WHERE id = {o}",
    "SELECT id, day FROM orders WHERE customer_id = {c}",
    "SELECT quantity, amount FROM item WHERE order_id = {o}",
    "SELECT count(*), max(amount) FROM item WHERE product_id = {p}",
    "SELECT avg(stars) FROM review WHERE product_id = {p}",
    "SELECT stars, body FROM review WHERE product_id = {p}",
    "SELECT status, count(*) FROM orders WHERE customer_id = {c} GROUP BY status",
    "SELECT min(day), max(day) FROM orders WHERE customer_id = {c}",
    "SELECT name FROM customer WHERE id BETWEEN {c} AND {c} + 20",
    "SELECT c.name, o.day FROM orders o JOIN customer c ON c.id = o.customer_id WHERE o.id = {o}",
    "SELECT p.title, i.quantity FROM item i JOIN product p ON p.id = i.product_id"
    " WHERE i.order_id = {o}",
    "SELECT o.id, sum(i.amount) FROM orders o JOIN item i ON i.order_id = o.id"
    " WHERE o.customer_id = {c} GROUP BY o.id",
    "SELECT sum(i.amount) FROM orders o JOIN item i ON i.order_id = o.id WHERE o.customer_id = {c}",
    "SELECT p.category, sum(i.amount) FROM orders o JOIN item i ON i.order_id = o.id"
    " JOIN product p ON p.id = i.product_id WHERE o.customer_id = {c} GROUP BY p.category",
    "SELECT DISTINCT p.title FROM orders o JOIN item i ON i.order_id = o.id"
    " JOIN product p ON p.id = i.product_id WHERE o.customer_id = {c}",
    "SELECT name FROM customer WHERE id IN (SELECT customer_id FROM orders WHERE id = {o})",
    "SELECT count(DISTINCT i.order_id) FROM item i WHERE i.product_id = {p}",
    "SELECT count(*) FROM product WHERE price > {n}",
    "SELECT category, count(*) FROM product WHERE stock > {s} GROUP BY category",
    "SELECT title, price FROM product WHERE category = 'lamps' AND stock < {s}"
    " ORDER BY price DESC LIMIT 5",
    "SELECT c.name, count(*) FROM customer c JOIN orders o ON o.customer_id = c.id"
    " WHERE c.id BETWEEN {c} AND {c} + 10 GROUP BY c.id ORDER BY 2 DESC, 1 LIMIT 3",
    "SELECT o.day, i.amount FROM item i JOIN orders o ON o.id = i.order_id"
    " WHERE i.product_id = {p} ORDER BY i.amount DESC, i.id LIMIT 10",
    "SELECT stars, count(*) FROM review WHERE product_id BETWEEN {p} AND {p} + 25 GROUP BY stars",
    "SELECT category, count(*), avg(price) FROM product WHERE price > {n} GROUP BY category",
    "SELECT count(*) FROM review WHERE body LIKE '%word{w}%'",
    "SELECT name FROM customer WHERE name LIKE '%{w}'",
    "SELECT city, count(*) FROM customer WHERE born > {y} GROUP BY city",
    "SELECT stars, count(*) FROM review WHERE product_id > {p} GROUP BY stars",
)
_MEDIUM = (
    "SELECT status, count(*) FROM orders WHERE customer_id > {c} GROUP BY status",
    "SELECT substr(day, 1, 7), count(*) FROM orders WHERE id > {o} GROUP BY 1",
    "SELECT count(*) FROM item WHERE amount > {n}",
    "SELECT product_id, sum(quantity) FROM item WHERE amount > {n} GROUP BY product_id",
    "SELECT avg(amount), max(amount) FROM item WHERE quantity >= 2 AND order_id > {o}",
    "SELECT c.segment, count(*) FROM orders o JOIN customer c ON c.id = o.customer_id"
    " WHERE o.id > {o} GROUP BY c.segment",
    "SELECT p.category, sum(i.amount) FROM item i JOIN product p ON p.id = i.product_id"
    " WHERE i.amount > {n} GROUP BY p.category",
    "SELECT c.city, sum(i.amount) FROM item i JOIN orders o ON o.id = i.order_id"
    " JOIN customer c ON c.id = o.customer_id WHERE i.amount > {n} GROUP BY c.city",
    "SELECT c.name, count(*) AS n FROM orders o JOIN customer c ON c.id = o.customer_id"
    " WHERE o.id > {o} GROUP BY c.id ORDER BY n DESC, c.id LIMIT 10",
    "SELECT p.title, avg(r.stars) FROM review r JOIN product p ON p.id = r.product_id"
    " WHERE r.id > {p} GROUP BY p.id HAVING count(*) > 3",
    "SELECT count(*) FROM orders WHERE status = 'done' AND customer_id IN"
    " (SELECT id FROM customer WHERE born > {y})",
    "SELECT o.day, sum(i.amount) FROM orders o JOIN item i ON i.order_id = o.id"
    " WHERE o.id > {o} GROUP BY o.day ORDER BY 2 DESC, 1 LIMIT 5",
    "SELECT count(DISTINCT customer_id) FROM orders WHERE id > {o}",
    "SELECT customer_id, count(*) FROM orders WHERE id > {o} GROUP BY customer_id"
    " ORDER BY 2 DESC, 1 LIMIT 5",
    "SELECT city, avg(born) FROM customer WHERE id IN (SELECT customer_id FROM orders"
    " WHERE id > {o}) GROUP BY city",
    "SELECT max(amount) FROM item WHERE product_id IN (SELECT id FROM product WHERE price > {n})",
    "SELECT name FROM customer WHERE born > {y} AND NOT EXISTS"
    " (SELECT 1 FROM orders WHERE customer_id = customer.id AND status = 'back')",
    "SELECT category, max(price) FROM product WHERE id IN"
    " (SELECT product_id FROM item WHERE amount > {n}) GROUP BY category",
    "SELECT day, count(*) FROM orders WHERE paid = 1 AND id > {o} GROUP BY day"
    " HAVING count(*) > 30",
    "SELECT c.segment, p.category, sum(i.quantity) FROM item i JOIN orders o ON o.id = i.order_id"
    " JOIN customer c ON c.id = o.customer_id JOIN product p ON p.id = i.product_id"
    " WHERE i.amount > {n} GROUP BY 1, 2",
)
FORMS = {"light": _LIGHT, "mixed": _LIGHT + _MEDIUM}


@dataclass(frozen=True)
class Script:
    """One episode: trial statements, then an answer that is right; `gold` judges it."""

    trials: tuple[str, ...]
    answer: str
    gold: str

    @property
    def statements(self) -> tuple[str, ...]:
        """What an environment runs that keeps no gold result."""
        return (*self.trials, self.answer, self.gold)


def build(path: Path, seed: int = 0) -> None:
    """Write the database to `path`; the same seed gives the same rows."""
    draws = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(_SCHEMA)
        for table, count in _COUNTS.items():
            rows = [(number, *_row(table, draws)) for number in range(1, count + 1)]
            connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?{_rest(table)})", rows)


def build_long(path: Path, rows: int) -> None:
    """Write a table `reading` of five columns and that many rows."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE reading (id INTEGER PRIMARY KEY, sensor TEXT, day TEXT, value REAL,"
            " note TEXT)"
        )
        connection.executemany(
            "INSERT INTO reading VALUES (?, ?, ?, ?, ?)",
            (
                (number, f"sensor {number % 97}", f"2024-{number % 12 + 1:02}-01", number / 7,
                 f"note {number}")
                for number in range(rows)
            ),
        )


def episodes(
    kind: str, count: int, turns: int, seen: set[str], draws: random.Random
) -> Iterator[Script]:
    """Yield that many scripts of `turns` turns, the answer included; `kind` is in `FORMS`.

    No statement is in `seen`, to which all are added: each is new to every environment.
    The answer is the gold query in another spelling, so that no memory of results by text can
    answer it with the gold result.
    """
    for _ in range(count):
        *trials, gold = (_new_statement(FORMS[kind], seen, draws) for _ in range(turns))
        yield Script(tuple(trials), gold.replace("SELECT", "select", 1), gold)


def pooled_episodes(
    count: int, turns: int, seen: set[str], draws: random.Random
) -> Iterator[Script]:
    """Yield scripts whose statements are all drawn from one pool, a light statement of each form.

    So they repeat, as those of the attempts of a group and of later epochs do, but not within a
    script. No statement of the pool is in `seen`, to which all are added.
    """
    pool = [_new_statement((form,), seen, draws) for form in _LIGHT]
    for _ in range(count):
        *trials, gold = draws.sample(pool, turns)
        yield Script(tuple(trials), gold.replace("SELECT", "select", 1), gold)


def _new_statement(forms: tuple[str, ...], seen: set[str], draws: random.Random) -> str:
    while (sql := _filled(draws.choice(forms), draws)) in seen:
        continue
    seen.add(sql)
    return sql


def _filled(form: str, draws: random.Random) -> str:
    return form.format(
        c=draws.randint(1, 4_900),
        p=draws.randint(1, 900),
        o=draws.randint(1, 29_000),
        n=draws.randint(50_000, 350_000) / 1_000,
        s=draws.randint(1_000, 9_000) / 100,
        y=draws.randint(195_000, 199_000) / 100,
        w=draws.randint(10, 99_999),
    )


def _row(table: str, draws: random.Random) -> tuple[object, ...]:
    day = f"2024-{draws.randint(1, 12):02}-{draws.randint(1, 28):02}"
    amount = round(draws.uniform(1, 400), 2)
    rows: dict[str, tuple[object, ...]] = {
        "customer": (
            f"Name {draws.randint(1, 10**6)}",
            draws.choice(_CITIES),
            draws.choice(_SEGMENTS),
            draws.randint(1940, 2005),
        ),
        "product": (
            f"Title {draws.randint(1, 10**6)}",
            draws.choice(_CATEGORIES),
            amount,
            draws.randint(0, 100),
        ),
        "orders": (draws.randint(1, 5_000), day, draws.choice(_STATES), draws.randint(0, 1)),
        "item": (draws.randint(1, 30_000), draws.randint(1, 1_000), draws.randint(1, 5), amount),
        "review": (
            draws.randint(1, 1_000),
            draws.randint(1, 5),
            " ".join(f"word{draws.randint(1, 999)}" for _ in range(6)),
        ),
    }
    return rows[table]


def _rest(table: str) -> str:
    return "" if table == "review" else ", ?"
