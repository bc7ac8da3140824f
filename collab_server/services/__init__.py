"""What users can do: a function per command."""
