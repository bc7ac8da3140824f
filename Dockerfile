# Three kinds of stage: one installs, the others hold only the result. Any Debian-like image with Python 3.11 to 3.14 will
# do:
#   docker build --build-arg BASE_IMAGE=python:3.12-slim .                    a node, and nothing that it does not need
#   docker build --target library .                                          the stand-in for Library, to try it with
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /src
# The pinned packages first: this layer is rebuilt only when a lock changes. Neither pip nor what builds the package gets
# into /opt/collab.
COPY requirements.lock requirements-build.lock ./
RUN python3 -m venv /opt/build \
    && python3 -m venv --without-pip /opt/collab \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
    && /opt/build/bin/pip --python /opt/collab/bin/python install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY migrations ./migrations
COPY collab_server ./collab_server
COPY clients ./clients
COPY deploy ./deploy
RUN /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --no-deps --no-index --wheel-dir /src/dist . \
    && /opt/build/bin/pip --python /opt/collab/bin/python install --no-cache-dir --no-deps --no-index /src/dist/*.whl

FROM build AS lean
RUN rm -r /opt/collab/lib/python3*/site-packages/collab_server/demo /opt/collab/share/collab-server

FROM ${BASE_IMAGE} AS base
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin collab
ENV PATH=/opt/collab/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# config.json and the files it names are looked for here; everything can come from COLLAB_* variables instead.
WORKDIR /etc/collab
# SIGTERM drains: handshakes are refused, commands in flight finish, clients are told and come back elsewhere.
STOPSIGNAL SIGTERM

# Not for production: everybody can sign in to it.
FROM base AS library
COPY --from=build /opt/collab /opt/collab
USER 10001
EXPOSE 8080
CMD ["collab-server", "library", "--host", "0.0.0.0", "--port", "8080"]

FROM base AS node
COPY --from=lean /opt/collab /opt/collab
COPY deploy/healthcheck.py /opt/collab/healthcheck.py
USER 10001
EXPOSE 3000
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 CMD ["python3", "/opt/collab/healthcheck.py"]
CMD ["collab-server", "serve"]
