"""Library, who is who. Only importer of the HTTP client."""
