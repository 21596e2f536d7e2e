"""Wait for what workers of a cluster make, and say in a sentence why it does not come."""

from typing import TYPE_CHECKING

from onnxq.errors import ClusterError, OnnxqError

if TYPE_CHECKING:
    from distributed import Client, Future

PATIENCE = 60  # seconds without an answer, until the cluster is asked whether it has workers


class Waiter:
    """For the futures of one client."""

    def __init__(self, client: "Client") -> None:
        self._client, self._address = client, client.scheduler.address

    def result(self, future: "Future[bytes]", where: str, advice: str) -> bytes:
        """What a task returned. Raises ClusterError, and whatever it raises of onnxq's own errors.

        ``where`` begins what is said, ``advice`` ends it where workers die of the task.
        """
        from distributed import CancelledError, KilledWorker

        while True:
            try:
                found: bytes = future.result(timeout=PATIENCE)
                return found
            except OnnxqError:
                raise
            except KilledWorker as error:
                raise ClusterError(
                    f"{where}: {error.allowed_failures + 1} workers died one after the other when they had these, or "
                    f"had them next; their logs may tell why. {advice}"
                ) from error
            except CancelledError as error:
                raise self.lost() from error
            except Exception as error:  # a user's own code may raise anything
                if isinstance(error, TimeoutError) and not future.done():
                    self._ask_for_workers()
                    continue
                if self._client.status != "running":
                    raise self.lost() from error
                said = f"{type(error).__name__}: {error}"
                raise ClusterError(f"{where}: a worker failed with {said}. Its log has the whole story.") from error

    def threads(self) -> int:
        """Of all workers that there are now."""
        try:
            return sum(self._client.nthreads().values())
        except Exception as error:
            raise self.lost() from error

    def lost(self) -> ClusterError:
        """What is said where the scheduler is gone."""
        return ClusterError(f"the scheduler at {self._address} is gone, and the work with it. Start it and this again.")

    def _ask_for_workers(self) -> None:
        if not self.threads():
            reason = f"the scheduler at {self._address} has no workers any more"
            raise ClusterError(f"{reason}. Start some with: dask worker {self._address}")
