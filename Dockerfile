# Two stages: one installs, the other holds only the result. Any Debian-like image with Python 3.11 to 3.13 will do:
#   docker build --build-arg BASE_IMAGE=python:3.12-slim .
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /src
# The pinned packages first: this layer is rebuilt only when requirements.lock changes.
COPY requirements.lock ./
RUN python3 -m venv /opt/collab \
    && /opt/collab/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
# The lock holds the build backend too, so nothing unpinned is fetched here.
COPY pyproject.toml README.md ./
COPY migrations ./migrations
COPY collab_server ./collab_server
RUN /opt/collab/bin/pip install --no-cache-dir --no-build-isolation --no-deps --no-index .

FROM ${BASE_IMAGE}
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin collab
COPY --from=build /opt/collab /opt/collab
COPY deploy/healthcheck.py /opt/collab/healthcheck.py
ENV PATH=/opt/collab/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# config.json and the files it names are looked for here; everything can come from COLLAB_* variables instead.
WORKDIR /etc/collab
USER 10001
EXPOSE 3000
# SIGTERM drains: handshakes are refused, commands in flight finish, clients are told and come back elsewhere.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 CMD ["python3", "/opt/collab/healthcheck.py"]
CMD ["collab-server", "serve"]
