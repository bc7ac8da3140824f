"""The clients of `clients/`, each in a process of its own, against real nodes."""
