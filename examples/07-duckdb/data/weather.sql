-- A small analytical database. Two readings hold what no other system can: an infinite day, and a number of 39 digits.
CREATE TABLE stations (id INTEGER PRIMARY KEY, place STRUCT(city VARCHAR, country VARCHAR));
INSERT INTO stations VALUES
  (1, {'city': 'Lisbon', 'country': 'PT'}), (2, {'city': 'Oslo', 'country': 'NO'}), (3, {'city': 'Porto', 'country': 'PT'});

CREATE TABLE readings (id UBIGINT PRIMARY KEY, station INTEGER, day DATE, celsius DECIMAL(5, 2), pulses HUGEINT);
INSERT INTO readings VALUES
  (1, 1, '2026-01-03', 14.25, 120),
  (2, 1, '2026-01-04', 15.5, 130),
  (3, 2, '2026-01-03', -3.75, 90),
  (4, 2, 'infinity', -4, 91),
  (5, 3, '2026-01-03', 13, 170141183460469231731687303715884105727),
  (6, 3, NULL, 12.75, NULL);
