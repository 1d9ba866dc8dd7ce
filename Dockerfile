# syntax=docker/dockerfile:1

# The image of Tocsin: docker build -t tocsin .
# Two stages on one base: what builds stays behind, and the second holds Python and /opt/tocsin.

ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build

ARG UV_VERSION=0.13.8
ENV PIP_CACHE_DIR=/var/cache/pip \
    UV_CACHE_DIR=/var/cache/uv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/tocsin \
    UV_PYTHON_DOWNLOADS=never
RUN --mount=type=cache,target=/var/cache/pip \
    python3 -m pip install --root-user-action=ignore "uv==${UV_VERSION}"

WORKDIR /src
# The dependencies are a layer of their own: they change less often than the code. --no-build: the
# lock file has a wheel for each, so no compiler is needed, and a missing wheel fails here.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --frozen --no-dev --no-install-project --no-build
# Not editable: the wheel is built and installed, so nothing refers to /src. The web UI is built with
# it, by a Node.js from PyPI that stays behind too.
COPY hatch_build.py ./
COPY tools/ui.py ./tools/
COPY ui ./ui
COPY src ./src
RUN --mount=type=cache,target=/var/cache/uv --mount=type=cache,target=/root/.npm \
    uv sync --frozen --no-dev --no-editable

FROM ${PYTHON_IMAGE}

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tocsin" \
      org.opencontainers.image.description="A job scheduler that calls HTTP endpoints on time, and keeps what happened." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# The numbers are fixed so that volumes and Kubernetes' runAsUser can name them.
RUN groupadd --gid 10001 tocsin \
    && useradd --uid 10001 --gid tocsin --no-create-home --home-dir /data --shell /usr/sbin/nologin tocsin \
    && install --directory --owner tocsin --group tocsin --mode 0750 /data

COPY --from=build /opt/tocsin /opt/tocsin
ENV PATH=/opt/tocsin/bin:$PATH
# Python's image carries no bytecode of the standard library. This keeps that of the modules which
# a node imports, so that no start compiles them; and it fails where one cannot be imported.
RUN python -c "import tocsin.app, tocsin.cli.main, tocsin.cli.migrate, tocsin.cli.serve"

# From here on nothing is written outside /data: the root file system can be read-only.
# The database is meant for a node on its own; many nodes are given TOCSIN_DATABASE=postgresql://….
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TOCSIN_DATABASE=sqlite:////data/tocsin.db
USER 10001:10001
WORKDIR /data
EXPOSE 8080
STOPSIGNAL SIGTERM

# Alive, not ready: an orchestrator that restarts what is unhealthy must not restart every node
# because the database is away. Without imports that cost more than the question.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-ISc", "import os, socket; s = socket.create_connection(('127.0.0.1', int(os.environ.get('TOCSIN_PORT', '8080'))), 4); s.sendall(b'GET /healthz HTTP/1.0\\r\\n\\r\\n'); raise SystemExit(b' 200 ' not in s.recv(32))"]

ENTRYPOINT ["tocsin"]
CMD ["serve", "--host", "0.0.0.0"]
