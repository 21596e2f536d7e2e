"""A connection to a Dask cluster whose workers have the same onnxq as this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from onnxq.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

ANSWER = 30  # seconds that a scheduler has to answer
ARRIVAL = 60  # seconds that the first worker has to arrive


def reach(cluster: "str | Client") -> None:
    """See whether the cluster can be worked with. Raises ClusterError as ``connected`` does."""
    with connected(cluster):
        pass


@contextmanager
def connected(cluster: "str | Client") -> Iterator["Client"]:
    """A client of the scheduler at an address, which is closed at the end, or one that is there already.

    Raises ClusterError where Dask is not installed, nobody answers, no worker comes, or one has another onnxq.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError("Dask is not installed. Install it with: pip install 'onnxq[cluster]'") from error
    if not isinstance(cluster, str):
        _check(cluster)
        yield cluster
        return
    try:
        _knock(cluster)
    except (OSError, ValueError) as error:  # ValueError is for what is no address
        reason = str(error).splitlines()[0] if isinstance(error, ValueError) else f"nobody answers for {ANSWER} seconds"
        raise ClusterError(
            f"no Dask scheduler at {cluster!r} (--cluster, Options.cluster): {reason}. Start one with: dask scheduler"
        ) from error
    with Client(cluster, timeout=ANSWER, set_as_default=False) as client:
        _check(client)
        yield client


def _knock(address: str) -> None:
    """Raises OSError where nobody answers, ValueError for what is no address.

    A Client that cannot connect is not closed: it waits in whichever thread the garbage collector finds it, and where
    that is the loop of the next Client, the two wait for each other.
    """
    from distributed.comm import connect
    from distributed.security import Security
    from distributed.utils import LoopRunner

    async def meet() -> None:
        comm = await connect(address, timeout=ANSWER, **Security().get_connection_args("client"))
        await comm.close()

    LoopRunner().run_sync(meet)


def _check(client: "Client") -> None:
    """That there are workers, and that all have this onnxq; the scheduler needs it too, to pass work on."""
    address = client.scheduler.address
    try:
        client.wait_for_workers(1, timeout=ARRIVAL)
    except TimeoutError as error:
        reason = f"the scheduler at {address} has had no worker for {ARRIVAL} seconds"
        raise ClusterError(f"{reason}. Start some with: dask worker {address}") from error
    check_version("the scheduler", client.run_on_scheduler(_asking()))
    for name, theirs in client.run(_asking()).items():
        check_version(f"worker {name}", theirs)


def _asking() -> Callable[[], str | None]:
    """A function that is sent as it is, since it stands in another one: it runs where there is no onnxq."""

    def found() -> str | None:
        from importlib import metadata

        try:
            return metadata.version("onnxq")
        except metadata.PackageNotFoundError:
            return None

    return found


def check_version(where: str, theirs: str | None) -> None:
    """Raises ClusterError unless it is that of this process."""
    own = version("onnxq")
    if theirs != own:
        said = "no onnxq" if theirs is None else f"onnxq {theirs}"
        raise ClusterError(
            f"{where} has {said}, and this process has {own}. Install it there: pip install 'onnxq[cluster]=={own}'"
        )
