"""PostgreSQL, the truth. Only importer of asyncpg; all SQL lives here."""
