"""The way of a command: the table of them all, what it costs, its payload, its transaction, its page of a list."""
