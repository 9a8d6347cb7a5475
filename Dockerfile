FROM python:3.12-slim AS build
WORKDIR /source
RUN python -m venv /opt/stream-qa
COPY pyproject.toml README.md LICENSE ./
COPY topics topics
COPY stream_qa stream_qa
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /opt/stream-qa/bin/pip install --no-cache-dir "$(echo /wheels/*.whl)[onnx,redis,serve]"

FROM python:3.12-slim
ENV PATH=/opt/stream-qa/bin:$PATH \
    PYTHONUNBUFFERED=1
# A volume mounted on /data takes over its owner, so the worker can write there without being root.
RUN useradd --system --uid 10001 --no-create-home stream-qa \
    && mkdir /data \
    && chown stream-qa: /data
COPY --from=build /opt/stream-qa /opt/stream-qa
USER stream-qa
WORKDIR /data
CMD ["stream-qa", "--help"]
