"""Socket.IO on the Engine.IO of `engine`: packets, rooms, the server, and the manager that spans nodes."""
