"""The pages the server serves."""
