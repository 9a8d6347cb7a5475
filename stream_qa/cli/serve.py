"""``stream-qa serve``: the scoring service."""

from importlib.util import find_spec

from stream_qa.errors import MissingExtraError
from stream_qa.settings import load_settings

_LIBRARIES = ("fastapi", "prometheus_client", "uvicorn")


def serve() -> None:
    """Score members and jobs over HTTP, with the global model and the newest coefficients from the topics.

    All is set by STREAM_QA_* variables; `stream-qa config show` prints them.

    Example: STREAM_QA_BUNDLE=bundle STREAM_QA_SERVE_PORT=8080 stream-qa serve
    """
    settings = load_settings()
    if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
        raise MissingExtraError(f"the service needs {', '.join(missing)}: pip install 'stream-qa[serve]'")
    from stream_qa.serving.process import run  # noqa: PLC0415 # an extra: not everybody has it

    run(settings)
