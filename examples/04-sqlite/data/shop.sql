-- A small shop, as an application keeps it. SQLite stores what it is given: one price is text, and one date is no date.
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT);
INSERT INTO customers VALUES (1, 'Ada', 'GB'), (2, 'Grace', 'US'), (3, 'Emmy', 'DE');

CREATE TABLE orders (
  id INTEGER PRIMARY KEY,
  customer INTEGER REFERENCES customers (id),
  price DECIMAL(10, 2),
  placed DATETIME
);
INSERT INTO orders VALUES
  (1, 1, 9.5, '2026-01-03T10:00:00Z'),
  (2, 2, 120, '2026-01-04T11:30:00Z'),
  (3, 2, 'free', '2026-01-05T09:15:00Z'),
  (4, 3, 30.25, 'soon'),
  (5, 'Ada', 1, '2026-01-06T08:00:00Z'),
  (6, 1, 15.75, '2026-01-07T16:45:00Z'),
  (7, 3, 8, NULL);
