"""What a node tells of what it does, and by which name it is found again on the others."""
