"""``GET /readyz``: whether this worker processes what comes, for whoever starts and watches it."""

from typing import Any

import faust

from stream_qa.streaming.lanes import Lanes

PATH = "/readyz"
_OK, _UNAVAILABLE = 200, 503


def add_readiness(app: faust.App, lanes: Lanes) -> None:
    """Add the page: 200 when the state of all assigned partitions is restored and a broker answers, else 503.

    Coefficients that are held back make no worker unready: it has to go on learning for them to be published again.
    """

    async def readyz(view: Any, _request: Any) -> Any:  # noqa: ANN401 # Faust's own
        problem = await lanes.problem()
        return view.json(
            {"ready": problem is None, "problem": problem, "held_back": lanes.held_back()},
            status=_OK if problem is None else _UNAVAILABLE,
        )

    app.page(PATH)(readyz)
