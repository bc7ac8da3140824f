"""The HTTP door. Only importer of fastapi."""
