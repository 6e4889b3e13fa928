"""Small SQLite files for the tests of the backend."""

import sqlite3
from contextlib import closing

SHOP = """
CREATE TABLE sale (
    id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES Customer, amount REAL, day TEXT
);
CREATE TABLE Customer (id INTEGER PRIMARY KEY, Name TEXT, "zip code" TEXT);
CREATE VIEW spending AS SELECT customer_id, sum(amount) AS total FROM sale GROUP BY customer_id;
INSERT INTO Customer VALUES (1, 'Ada', '10115'), (2, 'Ben', NULL), (3, 'Cleo', '75001');
INSERT INTO sale VALUES (1, 1, 2.5, '2024-03-01'), (2, 1, 4.0, '2024-04-01'), (3, 3, 1.0, NULL);
"""


def write(path, script=SHOP):
    """Write a database and return its path."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path
