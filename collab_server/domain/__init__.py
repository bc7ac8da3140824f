"""The words of the product: topics, comments, people, events. No I/O and no framework in here."""
