UPDATE tickets SET state = 'closed', changed = '2026-03-03 11:45:00' WHERE id = 1;
INSERT INTO tickets VALUES (4, 'Monitor', 'open', '2026-03-03 10:00:00');
