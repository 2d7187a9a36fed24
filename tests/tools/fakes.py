"""Stand-ins for programs: sh scripts."""

from pathlib import Path


def script(place: Path, body: str) -> Path:
    """Write an executable sh script."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\n{body}\n")
    place.chmod(0o755)
    return place
