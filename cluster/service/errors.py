"""What the service says where it has no answer: an HTTP status and one sentence."""

from __future__ import annotations


class ServiceError(Exception):
    """The request has no answer; the message says why.

    Attributes:
        status: of HTTP.
        retry_after: seconds after which the same request may be answered; None where it never will be.
    """

    status = 500
    retry_after: int | None = None


class RequestError(ServiceError):
    """The request itself is wrong."""

    status = 422


class AbsentError(ServiceError):
    """The service was started without what is asked for."""

    status = 404


class BusyError(ServiceError):
    """As many molecules as may are on their way already."""

    status = 429
    retry_after = 1


class UnavailableError(ServiceError):
    """The service cannot answer now."""

    status = 503
    retry_after = 5
