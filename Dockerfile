# The image that steps run in: Kineflow and what it needs at run time.
#
#   deploy/build_image.py                  builds it with this machine's pip settings, and labels it
#   docker build -t kineflow-python:dev .  builds it where pip needs no settings
#
# BuildKit is needed: Docker 23 has it; before, DOCKER_BUILDKIT=1. Build arguments:
#
#   BASE     Any image with Python 3.11 as `python3`, with its venv module; by digest, for a tag moves.
#   TORCH    `cuda`: torch's CUDA build, which brings CUDA's libraries and Triton along and needs only a driver on the host.
#            `cpu`: a small image without CUDA, from an index in pip's settings that has such builds.
#   GIT_COMMIT, VERSION, DATA_SCHEMA_VERSION, SOURCE_DIGEST
#            What the labels say; `deploy/build_image.py` finds them out.
#
# The build secrets `pip` (a pip.conf) and `ca` (certificates, at /run/secrets/ca) are seen by pip while it runs, and are
# part of no layer and no history.
#
# The image runs as any user and with a read-only root file system: /tmp is all that has to be writable. It holds nothing
# that builds or tests, and has no entry point.

ARG BASE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE} AS base
# numba finds OpenMP on the system only; torch brings its own.
RUN ldconfig -p | grep -q libgomp.so.1 || \
    (apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*)


FROM base AS dependencies
ARG TORCH=cuda
RUN python3 -m venv /opt/venv
COPY deploy/locks /src/locks
# What deploy/lock.sh has written down, and no byte of anything else. Compiled afterwards, on all cores; some packages hold
# files that are for other Pythons, and do not compile.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install --no-compile --no-deps --require-hashes \
        --requirement /src/locks/requirements.txt --requirement /src/locks/torch-${TORCH}.txt && \
    { /opt/venv/bin/python -m compileall -q -j 0 /opt/venv/lib > /dev/null || true; } && \
    echo /opt/kineflow > "$(echo /opt/venv/lib/python3.*/site-packages)/kineflow.pth"


FROM dependencies AS code
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY kineflow kineflow
COPY components components
COPY pipelines pipelines
# Built by the setuptools that torch asks for: nothing is downloaded.
RUN /opt/venv/bin/pip install --no-index --no-deps --no-build-isolation --no-compile \
    --target /opt/kineflow . && \
    /opt/venv/bin/python -m compileall -q /opt/kineflow


FROM base
RUN groupadd --gid 10001 kineflow && \
    useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin kineflow && \
    mkdir /work
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=code /opt/kineflow /opt/kineflow
# - Any user id will do, known to the system or not: its name and home are given.
# - What is imported is the image's, even where a copy of the project is the working folder (PYTHONSAFEPATH).
# - NVIDIA's container runtime mounts what compute needs, and nothing for graphics.
ENV PATH=/opt/venv/bin:/opt/kineflow/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    USER=kineflow \
    LOGNAME=kineflow \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/cache/matplotlib \
    NUMBA_CACHE_DIR=/tmp/cache/numba \
    DVC_SITE_CACHE_DIR=/tmp/cache/dvc \
    DVC_NO_ANALYTICS=1 \
    DO_NOT_TRACK=true \
    GX_ANALYTICS_ENABLED=False \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false \
    GIT_PYTHON_REFRESH=quiet \
    OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=4000 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /work
USER 10001:10001

ARG GIT_COMMIT=
ARG VERSION=
ARG DATA_SCHEMA_VERSION=
ARG SOURCE_DIGEST=
ENV KINEFLOW_GIT_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.title="kineflow" \
      org.opencontainers.image.description="Steps of Kineflow's pipelines" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${GIT_COMMIT}" \
      kineflow.data-schema-version="${DATA_SCHEMA_VERSION}" \
      kineflow.source-digest="${SOURCE_DIGEST}"
