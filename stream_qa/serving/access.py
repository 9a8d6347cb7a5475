"""Who may ask: everybody who reaches the service, or who brings the token."""

import hmac
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, params
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr
from starlette.exceptions import HTTPException

_bearer = HTTPBearer(auto_error=False, description="STREAM_QA_SERVE_TOKEN of the service")


def access_checks(token: SecretStr | None) -> list[params.Depends]:
    """Return what routes depend on that only those may use who bring ``token``; nothing without one."""
    if token is None:
        return []
    expected = token.get_secret_value().encode()

    def check(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
        # Headers are read as Latin-1, which gives their bytes back. The comparison takes constant time: how long it
        # takes must not say how much of a guess was right.
        if credentials is None or not hmac.compare_digest(credentials.credentials.encode("latin-1"), expected):
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED,
                "the header Authorization must be Bearer and the service's token",
                headers={"WWW-Authenticate": "Bearer"},
            )

    return [Depends(check)]
