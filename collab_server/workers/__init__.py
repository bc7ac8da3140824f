"""The workers of a node: several processes that are one node to everybody outside, on one port of one machine."""
