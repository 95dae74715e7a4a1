-- The schema that the table is to lie in, and the user of the Secret, who may create tables there.
CREATE ROLE loader LOGIN PASSWORD 'change-me-in-production';
CREATE SCHEMA tracking;
GRANT USAGE, CREATE ON SCHEMA tracking TO loader;
