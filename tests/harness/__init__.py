"""What tests, fault runs and benchmarks stand on: real servers, real nodes, real clients.

`world`    PostgreSQL, Valkey and the stand-in Library, started once; a fresh database for each who asks
`cluster`  nodes as processes of their own: start, stop, kill, freeze, thaw, logs
`clients`  a Socket.IO client, a REST client, a person who signs in at the stand-in Library
`waiting`  waiting for a condition with a deadline, in place of sleeping
"""
