CREATE TABLE tickets (id INTEGER PRIMARY KEY, subject TEXT, state TEXT, changed TEXT);
CREATE INDEX tickets_changed ON tickets (changed);
INSERT INTO tickets VALUES
  (1, 'Printer', 'open', '2026-03-02 08:15:00'),
  (2, 'Password', 'open', '2026-03-02 09:30:00'),
  (3, 'Laptop', 'closed', '2026-03-03 10:00:00');
