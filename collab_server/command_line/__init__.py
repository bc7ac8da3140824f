"""The commands of `collab-server`, a file for each kind. `whole` puts them together.

Each imports what it needs when it runs, so that `--help` costs nothing and the embedded servers are needed by
`demo` alone.
"""
