"""What a node tells of what it does: by which name one request is found on all nodes, and how much of what it did."""
