"""What environments for text-to-SQL get wrong: 40-odd comparisons with one clear answer each."""

from __future__ import annotations

import pytest

from text2sql_gym.errors import GoldError
from text2sql_gym.matching import MATCHERS
from text2sql_gym.types import Limits

SHOP = """
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, kind TEXT, price REAL, stock INTEGER,
                  maker INTEGER REFERENCES maker(id));
CREATE TABLE maker(id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE note(item INTEGER, body TEXT);
CREATE TABLE number(k INTEGER, x);
CREATE TABLE many(n INTEGER, word TEXT);
INSERT INTO maker VALUES (1,'Ada','Rome'), (2,'Bo','Oslo'), (3,'Cy','Rome');
INSERT INTO item VALUES (1,'pen','paper',1.5,10,1), (2,'ink','paper',4.25,0,1),
  (3,'pad','paper',0.1,7,2), (4,'cup','home',0.2,NULL,2), (5,'pot','home',0.3,3,3),
  (6,'mat','home',12.0,3,NULL);
INSERT INTO number VALUES (1,0.001), (2,0.010), (3,9007199254740993), (4,9007199254740992.0),
  (5,1), (6,1.0), (7,NULL), (8,0), (9,'');
INSERT INTO note VALUES (1, CAST(x'66ff6f' AS TEXT)), (2,'fine');
WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 60000)
  INSERT INTO many SELECT n, 'w' || n FROM c;
"""

RIGHT = [
    # the order is not asked for
    ("SELECT name FROM item", "SELECT name FROM item ORDER BY name DESC"),
    (
        "SELECT name FROM item WHERE price < 1",
        "SELECT name FROM item WHERE price < 1 ORDER BY price DESC",
    ),
    (
        "SELECT kind, COUNT(*) FROM item GROUP BY kind",
        "SELECT kind, COUNT(*) FROM item GROUP BY kind ORDER BY 2, 1 DESC",
    ),
    # the order is asked for, and there
    ("SELECT name FROM item ORDER BY price", "SELECT name FROM item ORDER BY price ASC, name"),
    (
        "SELECT kind, name FROM item ORDER BY kind",
        "SELECT kind, name FROM item ORDER BY kind, price DESC",
    ),
    # rounding noise
    ("SELECT 0.3", "SELECT 0.1 + 0.2"),
    (
        "SELECT SUM(price) FROM item WHERE id IN (3, 4, 5)",
        "SELECT SUM(price) FROM (SELECT price FROM item WHERE id IN (3, 4, 5) ORDER BY id DESC)",
    ),
    ("SELECT AVG(price) FROM item", "SELECT SUM(price) / COUNT(price) FROM item"),
    ("SELECT SUM(price * 1.1) FROM item", "SELECT SUM(price) * 1.1 FROM item"),
    # types of numbers
    ("SELECT COUNT(*) FROM item", "SELECT COUNT(*) * 1.0 FROM item"),
    ("SELECT stock FROM item WHERE id = 1", "SELECT stock * 1.0 FROM item WHERE id = 1"),
    ("SELECT COUNT(*) FROM item", "SELECT SUM(1) FROM item"),
    # names of columns, wording of the query
    ("SELECT COUNT(*) AS n FROM item", "SELECT COUNT(id) AS total FROM item;"),
    (
        "SELECT name FROM item WHERE maker IS NULL",
        "SELECT i.name FROM item i WHERE i.maker IS NULL",
    ),
    # nothing found, and nothing to be found
    (
        "SELECT name FROM item WHERE price > 100",
        "SELECT name FROM item WHERE price > 100 ORDER BY id",
    ),
    (
        "SELECT name, city FROM maker WHERE city = 'Bern'",
        "SELECT name, city FROM maker WHERE 'Bern' = city",
    ),
    # bytes that are no text
    ("SELECT body FROM note", "SELECT body FROM note"),
    ("SELECT item, body FROM note ORDER BY item", "SELECT item, body FROM note ORDER BY item"),
]

WRONG = [
    # the order is asked for
    ("SELECT name FROM item ORDER BY price", "SELECT name FROM item ORDER BY price DESC"),
    ("SELECT name, stock FROM item ORDER BY stock DESC", "SELECT name, stock FROM item"),
    # how often a row occurs
    ("SELECT kind FROM item", "SELECT DISTINCT kind FROM item"),
    ("SELECT DISTINCT kind FROM item", "SELECT kind FROM item"),
    ("SELECT m.name FROM maker m", "SELECT m.name FROM maker m JOIN item i ON i.maker = m.id"),
    (
        "SELECT city FROM maker UNION ALL SELECT city FROM maker",
        "SELECT city FROM maker UNION SELECT city FROM maker",
    ),
    # NULL is not a value
    ("SELECT x FROM number WHERE k = 7", "SELECT x FROM number WHERE k = 8"),
    ("SELECT x FROM number WHERE k = 7", "SELECT x FROM number WHERE k = 9"),
    ("SELECT SUM(stock) FROM item WHERE id = 4", "SELECT COUNT(stock) FROM item WHERE id = 4"),
    # numbers that differ
    ("SELECT x FROM number WHERE k = 1", "SELECT x FROM number WHERE k = 2"),
    ("SELECT x FROM number WHERE k = 3", "SELECT x FROM number WHERE k = 4"),
    ("SELECT price FROM item WHERE id = 2", "SELECT ROUND(price, 1) FROM item WHERE id = 2"),
    # more than was asked for
    ("SELECT name FROM item", "SELECT name, kind FROM item"),
    ("SELECT name FROM item", "SELECT * FROM item"),
    ("SELECT name, kind FROM item", "SELECT name FROM item"),
    # every column right, the rows wrong
    (
        "SELECT id, name FROM maker",
        "SELECT m.id, o.name FROM maker m JOIN maker o ON o.id = 4 - m.id",
    ),
    # not a query
    ("SELECT name FROM item WHERE price > 100", "-- nothing"),
    ("SELECT name FROM item WHERE price > 100", ""),
    ("SELECT name FROM item WHERE price > 100", "CREATE TABLE found(name TEXT)"),
    ("SELECT name FROM item WHERE price > 100", "DELETE FROM item WHERE id = 6"),
    ("SELECT name FROM item", "SELECT name FROM item; SELECT 1"),
    # counting
    ("SELECT COUNT(DISTINCT kind) FROM item", "SELECT COUNT(kind) FROM item"),
    ("SELECT COUNT(stock) FROM item", "SELECT COUNT(*) FROM item"),
    # a part of a large result
    ("SELECT n, word FROM many", "SELECT n, word FROM many LIMIT 5000"),
    # an answer that looks nothing up
    ("SELECT COUNT(*) FROM item", "SELECT 6"),
]


@pytest.fixture(scope="module")
def database(open_database):
    return open_database(SHOP)


@pytest.mark.parametrize("name", ["strict", "strict_one_database"])
@pytest.mark.parametrize(("gold", "predicted"), RIGHT)
def test_a_right_answer_in_other_words_is_right(name, gold, predicted, database, judge):
    assert judge(MATCHERS[name](), gold, predicted, database) == 1.0


@pytest.mark.parametrize("name", ["strict", "strict_one_database"])
@pytest.mark.parametrize(("gold", "predicted"), WRONG)
def test_a_wrong_answer_is_wrong(name, gold, predicted, database, judge):
    assert judge(MATCHERS[name](), gold, predicted, database) == 0.0


def test_a_gold_query_that_fails_is_a_fault_and_no_score(database):
    with pytest.raises(GoldError, match="no such column: cost"):
        MATCHERS["strict"]().prepare("SELECT cost FROM item", database, Limits())


def test_there_are_at_least_forty_three_cases():
    assert len(RIGHT) + len(WRONG) >= 43
