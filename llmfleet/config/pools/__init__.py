"""Pools by kind. A new kind is one module with a `PoolPart`, and its class in the union."""

from typing import Annotated, TypeAlias

from llmfleet.config.part import ByKind
from llmfleet.config.pools.local import LocalPool

Pool: TypeAlias = Annotated[LocalPool, ByKind()]
"""Anything that runs workers."""

__all__ = ["LocalPool", "Pool"]
