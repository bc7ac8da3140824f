"""Engine.IO: sessions, what carries them, and the one way by which anything leaves through them. See `engine.py`."""
