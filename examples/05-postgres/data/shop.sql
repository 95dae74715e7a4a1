-- A shop's database, and a user who may only read it.
CREATE SCHEMA sales;
CREATE TYPE sales.state AS ENUM ('open', 'paid', 'sent');
CREATE TABLE sales.orders (
  id bigint PRIMARY KEY,
  customer text NOT NULL,
  amount numeric(10,2) NOT NULL,
  state sales.state NOT NULL,
  placed timestamptz NOT NULL,
  due date,
  tags text[]
);
INSERT INTO sales.orders VALUES
  (1, 'Ada', 19.90, 'paid', '2026-01-05 09:30:00+01', '2026-02-05', '{gift}'),
  (2, 'Grace', 250.00, 'open', '2026-01-06 10:00:00+01', 'infinity', NULL),
  (3, 'Edsger', 'NaN', 'open', '2026-01-06 11:00:00+01', '2026-02-06', '{}'),
  (4, 'Barbara', 7.25, 'sent', '2026-01-07 12:15:30+01', NULL, '{gift,express}');
CREATE ROLE reporting LOGIN PASSWORD 'change-me-in-production';
GRANT USAGE ON SCHEMA sales TO reporting;
GRANT SELECT ON sales.orders TO reporting;
