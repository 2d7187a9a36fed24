"""One connection to the broker, for a gateway, a worker or a command: patient, with stream and consumers in place."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from llmfleet.errors import MissingExtraError, QueueError
from llmfleet.queue.nats import names

try:
    import nats
    from nats.aio.client import Client
    from nats.errors import Error as NatsError
    from nats.js import api
    from nats.js.errors import NotFoundError
except ImportError as error:  # pragma: no cover
    raise MissingExtraError("The NATS queue", "gateway") from error

log = logging.getLogger(__name__)

# While the broker restarts, what is published waits in memory. Beyond this a frame is lost, which the gateway notices
# by its sequence number and mends with a new epoch.
_PENDING_BYTES = 64 << 20

Callback = Callable[[], Awaitable[None]]


async def _nothing() -> None:
    pass


def checked_url(url: str) -> str:
    """Return `url` if it names a NATS server.

    Raises:
        QueueError: it does not.
    """
    parts = urlsplit(url)
    try:
        good = parts.scheme in {"nats", "tls"} and bool(parts.hostname) and parts.port is not None
    except ValueError:
        good = False
    if not good:
        raise QueueError(f"--queue is {url!r}; it must be like nats://127.0.0.1:4222")
    return url


async def connect(
    url: str, name: str, *, patient: bool = True, on_down: Callback = _nothing, on_up: Callback = _nothing
) -> Client:
    """Connect to the broker at `url`, waiting for one that is not there yet.

    Args:
        url: nats://HOST:PORT
        name: shown by the broker's monitoring
        patient: wait for ever, saying so every five seconds; otherwise give up at once.
        on_down: called when the broker is lost
        on_up: called when it is back and the subscriptions are restored

    Raises:
        QueueError: the URL is none, or the broker is away and `patient` is False.
    """
    checked_url(url)
    said = -60.0
    client: Client | None = None

    async def went_wrong(error: Exception) -> None:
        nonlocal said
        if time.monotonic() - said > 5 and patient:
            said = time.monotonic()
            log.warning("no queue answers at %s (%s); waiting for it", url, str(error) or type(error).__name__)

    async def went_down() -> None:
        if client is not None and client.is_closed:
            return  # we left by ourselves
        log.warning("lost the queue at %s; waiting for it to come back", url)
        await on_down()

    async def came_up() -> None:
        log.info("the queue at %s is back", url)
        await on_up()

    try:
        client = await nats.connect(
            url,
            name=name,
            connect_timeout=2,
            max_reconnect_attempts=-1 if patient else 1,
            reconnect_time_wait=0.2,
            ping_interval=5,
            pending_size=_PENDING_BYTES,
            error_cb=went_wrong,
            disconnected_cb=went_down,
            reconnected_cb=came_up,
            # Our subjects are made by `names.token`; checking each again costs more than sending it.
            skip_subject_validation=True,
        )
    except (OSError, NatsError, TimeoutError) as error:
        raise QueueError(
            f"no queue answers at {url} ({str(error) or type(error).__name__}): "
            "start the fleet with `make up`, or name its queue with --queue"
        ) from error
    return client


async def ensure_stream(client: Client) -> None:
    """Make the stream of work orders, or bring its settings up to date; tries until the broker takes it."""
    config = api.StreamConfig(
        name=names.STREAM,
        subjects=[f"{names.ORDERS}.>"],
        retention=api.RetentionPolicy.WORK_QUEUE,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.NEW,
        max_age=names.ORDER_MAX_AGE_SECONDS,
        max_bytes=names.QUEUE_MAX_BYTES,
        duplicate_window=120,
    )
    js = client.jetstream()
    while True:
        try:
            try:
                await js.update_stream(config)
            except NotFoundError:
                await js.add_stream(config)
        except (NatsError, TimeoutError) as error:
            log.warning("the queue is not ready for the stream %s (%s); trying again", names.STREAM, error)
            await asyncio.sleep(0.5)
        else:
            return


async def ensure_consumer(client: Client, model: str) -> None:
    """Declare that `model` is served here: its orders are kept and wait, also while no worker is there."""
    await client.jetstream().add_consumer(
        names.STREAM,
        api.ConsumerConfig(
            durable_name=names.token(model),
            filter_subject=names.orders(model),
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=names.LEASE_SECONDS,
            max_deliver=names.MAX_DELIVERIES,
            max_ack_pending=-1,
            max_waiting=4096,
            metadata={names.MODEL_KEY: model},
        ),
    )


async def consumers(client: Client) -> dict[str, api.ConsumerInfo]:
    """The declared models with what JetStream knows of their orders. Empty when there is no stream yet."""
    js = client.jetstream()
    found: dict[str, api.ConsumerInfo] = {}
    while True:
        try:
            page = await js.consumers_info(names.STREAM, offset=len(found))
        except NotFoundError:
            return {}
        new = {
            (info.config.metadata or {}).get(names.MODEL_KEY, info.name): info
            for info in page
            if info.config is not None
        }
        if not new.keys() - found.keys():
            return found
        found |= new
