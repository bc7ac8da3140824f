"""Engine.IO right on uvicorn: websockets and long-polling without ASGI's events, tasks and queues.

uvicorn gets these classes in one of two ways: `adapter.install`, called at lifespan startup, or by its own option
(`--ws collab_server.realtime.transport:WebSocketProtocol`). With `COLLAB_TRANSPORT=asgi` in the environment, and under
any other server, everything goes the plain ASGI way of `engine/asgi.py`; uvicorn then keeps its own protocol classes,
with one mend (`offers.py`) and bounds (`guard.py`).

Only importer of uvicorn. What reaches into it from outside of a protocol class stands in `adapter.py`.
"""
