-- A small shop. One order was placed at a time that is none: older MySQL versions store it.
SET sql_mode = '';
CREATE TABLE orders (
  id INT PRIMARY KEY AUTO_INCREMENT,
  customer VARCHAR(40) NOT NULL,
  price DECIMAL(10, 2),
  placed DATETIME
);
INSERT INTO orders (customer, price, placed) VALUES
  ('Ada', 9.50, '2026-01-03 10:00:00'),
  ('Grace', 120.00, '2026-01-04 11:30:00'),
  ('Emmy', 30.25, '0000-00-00 00:00:00');
