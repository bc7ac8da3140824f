"""Redis, the hints between nodes. Only importer of redis."""
