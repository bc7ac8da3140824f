"""The Socket.IO door. Only importer of socketio and engineio."""
