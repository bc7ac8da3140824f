"""Faults on purpose: the proxy, and what the system does under it."""
