"""What the gateway refuses, in the shape that OpenAI's clients understand."""

import msgspec


class ApiError(Exception):
    """A request that gets an error instead of an answer.

    Attributes:
        status: HTTP status
        body: OpenAI's error object as JSON
        headers: extra response headers
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        kind = kind or ("invalid_request_error" if status < 500 else "server_error")
        self.body = msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})
        self.headers = headers


def wait_and_retry(status: int, message: str, code: str, seconds: float) -> ApiError:
    """Return an error that tells the client when to come back."""
    return ApiError(
        status,
        message,
        code=code,
        kind="server_error" if status >= 500 else "rate_limit_error",
        headers=(
            (b"retry-after", str(max(1, round(seconds))).encode()),
            (b"retry-after-ms", str(round(seconds * 1000)).encode()),
        ),
    )
