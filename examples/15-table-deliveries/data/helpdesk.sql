-- The schema that the table is to lie in, the user of the Secret, and another one who reads the table.
CREATE ROLE deliverer LOGIN PASSWORD 'change-me-in-production';
CREATE ROLE support;
CREATE SCHEMA support;
GRANT USAGE, CREATE ON SCHEMA support TO deliverer;
GRANT USAGE ON SCHEMA support TO support;
ALTER DEFAULT PRIVILEGES FOR ROLE deliverer IN SCHEMA support GRANT SELECT ON TABLES TO support;
