FROM python:3.12.12-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/stream-qa
COPY pyproject.toml README.md LICENSE ./
COPY deploy/constraints.txt deploy/constraints.txt
COPY topics topics
COPY stream_qa stream_qa
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /opt/stream-qa/bin/pip install --no-cache-dir --constraint deploy/constraints.txt \
        "$(echo /wheels/*.whl)[onnx,redis,serve]"

FROM python:3.12.12-slim-bookworm
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
