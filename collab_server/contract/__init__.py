"""What is on the wire, said once; both doors and the documents are made of it."""
