"""What crosses processes: hints between nodes, and between the workers of one. Only importer of redis."""
