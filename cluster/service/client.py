"""A client of the service, for a training that asks it about molecules while it runs.

The service itself looks into the store first, so that a molecule is asked about as often as one likes and described
once. Where it is away, or busy, the client waits for it and asks again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from teacher.errors import GallonError, UsageError
from teacher.wording import counted

logger = logging.getLogger(__name__)

AT_A_TIME = 16  # molecules in a request
SECONDS = 600.0  # for an answer
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds between tries
PATIENCE = 3_600.0  # seconds without an answer, after which it is not waited for any more
FIRST_PATIENCE = 10.0  # the same where it has not answered yet
ANSWERED = frozenset({200, 413, 422})  # the latter two: refused, with a reason
DENIED, LATER = 401, frozenset({408, 425, 429})


class ServiceGoneError(GallonError):
    """The service was away for too long."""


class ServiceClient:
    """Asks `gallon serve`.

    Args:
        url: of the service, e.g. http://127.0.0.1:8000.
        token: that it asks for, if any.
        patience: seconds without an answer, after which it is not waited for any more.
    """

    def __init__(self, url: str, token: str | None = None, patience: float = PATIENCE) -> None:
        self._url, self._patience = url.rstrip("/"), patience
        self._answered = False
        self._token = (token or "").strip()
        self._headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def spec(self) -> str:
        """Return the id of the spec that its descriptions are stored under.

        Raises:
            UsageError: it describes nothing, or nothing that listens there is `gallon serve`.
            ServiceGoneError: nothing listens there.
        """
        told = self._asked("GET", "/healthz")
        found = told.get("spec") if isinstance(told, dict) else None
        if not isinstance(found, str):
            raise UsageError(f"The service at {self._url} describes nothing: start it without --no-describe.")
        return found

    def describe(self, smiles: Sequence[str], show: Callable[[int], None] | None = None) -> int:
        """Have molecules described, and wait until they are; return how many could not be.

        Args:
            smiles: canonical ones.
            show: called with how many are done.

        Raises:
            UsageError: the token is wrong.
            ServiceGoneError: the service does not come back.
        """
        failed = 0
        for start in range(0, len(smiles), AT_A_TIME):
            answers = self._described(list(smiles[start : start + AT_A_TIME]))
            failed += sum(answer.get("record") is None for answer in answers)
            if show:
                show(min(start + AT_A_TIME, len(smiles)))
        return failed

    def _described(self, smiles: list[str]) -> list[dict[str, Any]]:
        """Ask about some molecules at once; what is refused together is asked about one by one."""
        answers = self._asked("POST", "/describe", {"smiles": smiles})
        if isinstance(answers, list):
            return answers
        if len(smiles) == 1:
            logger.warning("the service refuses %s: %s", smiles[0], answers.get("detail"))
            return [{}]
        return [answer for one in smiles for answer in self._described([one])]

    def _asked(self, verb: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request until it has an answer; one that is refused for good has the reason as `detail`."""
        import httpx

        patience = self._patience if self._answered else min(self._patience, FIRST_PATIENCE)
        given_up = time.monotonic() + patience
        wait = FIRST_WAIT
        while True:
            reason, pause = "", wait
            try:
                answer = httpx.request(verb, self._url + path, json=body, headers=self._headers, timeout=SECONDS)
                if answer.status_code == DENIED:
                    raise UsageError(f"The service at {self._url} wants a token: put it into GALLON_SERVICE_TOKEN.")
                if answer.status_code in ANSWERED:
                    found = answer.json()
                    self._answered = True
                    return found
                if 400 <= answer.status_code < 500 and answer.status_code not in LATER:
                    raise UsageError(
                        f"What listens at {self._url} is no 'gallon serve' that describes (HTTP {answer.status_code}): "
                        "correct --service, or start it without --no-describe."
                    )
                reason = f"HTTP {answer.status_code}"
                pause = _seconds(answer.headers.get("Retry-After"), wait)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol):
                raise UsageError(f"--service {self._url} is no URL, as http://127.0.0.1:8000: correct it.") from None
            except (httpx.HTTPError, ValueError) as error:
                reason = self._hidden(str(error)) or type(error).__name__
            if time.monotonic() + pause > given_up:
                raise ServiceGoneError(
                    f"The service at {self._url} has given no answer for {counted(int(patience), 'second')} "
                    f"({reason}): start it ('gallon serve'), and give the same command, which goes on."
                )
            logger.warning("the service at %s gives no answer (%s); asked again in %.1f s", self._url, reason, pause)
            time.sleep(pause)
            wait = min(2 * wait, LONGEST_WAIT)

    def _hidden(self, told: str) -> str:
        """Return a message without the token, which one about a header repeats, or writes as Python would."""
        for shown in filter(None, (self._token, ascii(self._token)[1:-1])):
            told = told.replace(shown, "***")
        return told


def _seconds(told: str | None, otherwise: float) -> float:
    """Return how long a server wants to be left alone, if it says so in seconds."""
    return min(float(told), LONGEST_WAIT) if told and told.isdecimal() else otherwise
