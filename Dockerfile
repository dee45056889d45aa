# The one image of all processes; build it with `make image`. How to run it: docs/deployment.md.
# A tag moves; to pin what it means today, resolve it once and hand the digest in:
#   docker buildx imagetools inspect python:3.11-slim-bookworm
#   make image ARGS="--build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:..."
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /opt/mes
# Wheels only, each checked by its hash, so nothing is compiled. A mirror and its certificate come as build secrets
# (pip.conf, which may say `cert = /run/secrets/pip_cert`) and leave no trace in a layer.
COPY requirements.lock scripts/runtime_lock.py /build/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=pip_cert \
    python /build/runtime_lock.py /build/requirements.lock > /build/runtime.lock \
    && python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python --disable-pip-version-check install --require-hashes --no-deps \
        --only-binary :all: --requirement /build/runtime.lock
COPY . .
# Editable, since Dagster, dbt and the console start from the source's folders. The build backend, which no lock names,
# stays in this stage. Readable by every user, whatever the umask of the checkout was.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=pip_cert \
    python -m pip --python /opt/venv/bin/python --disable-pip-version-check install --no-deps --editable . \
    && python -m compileall -q . \
    && chmod -R u=rwX,go=rX /opt/mes

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Atelier MES" \
      org.opencontainers.image.description="Orders, prices from 3D models, operators and reports of a jewelry workshop" \
      org.opencontainers.image.licenses="Apache-2.0"
# a fixed id, so that the owner of a volume is the same on every machine
RUN groupadd --gid 10001 mes \
    && useradd --uid 10001 --gid mes --no-create-home --home-dir /var/lib/mes --shell /usr/sbin/nologin mes \
    && install --directory --owner=mes --group=mes --mode=0750 /var/lib/mes
# packages first: they change less often than the source
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/mes /opt/mes
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/var/lib/mes \
    MES_HOME=/var/lib/mes \
    MES_HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/mes
VOLUME /var/lib/mes
EXPOSE 8000 8501 3000 9100
USER 10001:10001
# of the command below; compose.yaml has one for each of the others
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "deploy/healthy.py", "http://127.0.0.1:8000/healthz"]
ENTRYPOINT ["mes"]
CMD ["api"]
