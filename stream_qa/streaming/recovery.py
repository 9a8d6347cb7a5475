"""Where Faust asks for tables to be restored: ours are restored there, before any record is handed over."""

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery

from stream_qa.streaming.lanes import Lanes


class LaneRecovery(Recovery):  # type: ignore[misc] # Faust is not typed for subclasses
    """Restores the lanes of an assignment while the flow is stopped."""

    async def _resume_streams(self, generation_id: int = 0) -> None:
        if self.app.consumer_generation_id == generation_id:
            # Raises when another rebalance begins meanwhile: then that one restores.
            await self._wait(self._restore())
        await super()._resume_streams(generation_id=generation_id)

    async def _restore(self) -> None:
        lanes: Lanes = self.app.lanes
        consumer = self.app.consumer
        # Where nothing was assigned before, Faust has not stopped the flow; a chunk must not pass while it resumes.
        consumer.stop_flow()
        self.app.flow_control.suspend()
        revocations = consumer.revocations
        places = [(place.topic, place.partition) for place in consumer.assignment()]
        try:
            await lanes.restore(places, consumer)
            consumer.show_offsets(revocations)
        except Exception as error:  # noqa: BLE001 # Faust would log it and go on without state
            self.app.fail(error)


class LaneTables(TableManager):  # type: ignore[misc] # Faust is not typed for subclasses
    """Faust's tables, of which there are none, with the recovery of ours."""

    @property
    def recovery(self) -> LaneRecovery:
        """The service that restores state."""
        if self._recovery is None:
            self._recovery: LaneRecovery | None = LaneRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        """Begin at once: Faust would wait a second for tables to be added."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()
