"""Embedded PostgreSQL, Valkey and NGINX and a stand-in Library. Not for production."""
