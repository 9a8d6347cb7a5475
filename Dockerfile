# The index of all platforms of this version. `docker buildx imagetools inspect TAG` says what a tag is now.
ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm@sha256:593bd06efe90efa80dc4eee3948be7c0fde4134606dd40d8dd8dbcade98e669c

FROM ${PYTHON_IMAGE} AS build
WORKDIR /source
# First what changes seldom: a change of the code alone leaves these layers.
COPY deploy/constraints.txt deploy/build-constraints.txt deploy/
RUN python -m venv /opt/stream-qa \
    && /opt/stream-qa/bin/pip install --no-cache-dir --require-hashes --requirement deploy/constraints.txt \
    && python -m pip install --no-cache-dir --require-hashes --requirement deploy/build-constraints.txt
COPY pyproject.toml README.md LICENSE ./
COPY topics topics
COPY stream_qa stream_qa
RUN python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/stream-qa/bin/pip install --no-cache-dir --no-deps /wheels/*.whl \
    && /opt/stream-qa/bin/pip check

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/stream-qa/bin:$PATH \
    PYTHONUNBUFFERED=1
# A volume mounted on /data takes over its owner, so the worker can write there without being root.
RUN useradd --system --uid 10001 --no-create-home stream-qa \
    && mkdir /data \
    && chown 10001: /data
COPY --from=build /opt/stream-qa /opt/stream-qa
# By its number: an orchestrator that forbids root does not know names.
USER 10001
WORKDIR /data
CMD ["stream-qa", "--help"]
